//! Kafka broker properties: TLS, SASL, tokens, the authorizer.

use super::{Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) SECURITY: Broker;
    "authorizer.class.name": String = "", in Any, ReadOnly, Refused;
        "The Java class that checks who may do what. There are no ACLs in this version, and Java plug-ins \
         cannot run here."
    "principal.builder.class": Class = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
        in Any, PerBroker, Refused;
        "The Java class that names a client's principal. Java plug-ins cannot run here."
    "security.providers": String = null, in Any, ReadOnly, Refused;
        "Java security providers. Java plug-ins cannot run here."
    "connections.max.reauth.ms": Long = "0", in Any, ReadOnly, Reported;
        "How long an authentication is valid."
    "delegation.token.secret.key": Password = null, in Any, ReadOnly, Reported;
        "The secret that signs delegation tokens."
    "delegation.token.max.lifetime.ms": Long = "604800000", in AtLeast(1), ReadOnly, Reported;
        "The longest life of a delegation token."
    "delegation.token.expiry.time.ms": Long = "86400000", in AtLeast(1), ReadOnly, Reported;
        "How long a delegation token is valid before it is renewed."
    "delegation.token.expiry.check.interval.ms": Long = "3600000", in AtLeast(1), ReadOnly, Reported;
        "How often expired delegation tokens are dropped."
    "sasl.enabled.mechanisms": List = "GSSAPI", in Any, PerBroker, Reported;
        "SASL mechanisms offered on SASL listeners. There are none in this version."
    "sasl.server.max.receive.size": Int = "524288", in Any, ReadOnly, Reported;
        "The largest SASL message accepted."
    "sasl.server.callback.handler.class": Class = null, in Any, ReadOnly, Refused;
        "A Java class that checks SASL credentials. Java plug-ins cannot run here."
    "sasl.client.callback.handler.class": Class = null, in Any, ReadOnly, Reported;
        "A Java class that answers SASL questions between brokers."
    "sasl.jaas.config": Password = null, in Any, PerBroker, Reported;
        "Java login settings."
    "sasl.login.callback.handler.class": Class = null, in Any, ReadOnly, Reported;
        "A Java class for logins between brokers."
    "sasl.login.class": Class = null, in Any, ReadOnly, Reported;
        "A Java class for logins between brokers."
    "sasl.login.connect.timeout.ms": Int = null, in Any, ReadOnly, Reported;
        "How long to wait for a connection to the OAuth provider."
    "sasl.login.read.timeout.ms": Int = null, in Any, ReadOnly, Reported;
        "How long to wait for an answer of the OAuth provider."
    "sasl.login.refresh.buffer.seconds": Short = "300", in Any, PerBroker, Reported;
        "How long before it expires a credential is renewed at the latest."
    "sasl.login.refresh.min.period.seconds": Short = "60", in Any, PerBroker, Reported;
        "The least time between two renewals of a credential."
    "sasl.login.refresh.window.factor": Double = "0.8", in Any, PerBroker, Reported;
        "The share of a credential's life after which it is renewed."
    "sasl.login.refresh.window.jitter": Double = "0.05", in Any, PerBroker, Reported;
        "By how much that time varies."
    "sasl.login.retry.backoff.max.ms": Long = "10000", in Any, ReadOnly, Reported;
        "The longest pause between two login attempts."
    "sasl.login.retry.backoff.ms": Long = "100", in Any, ReadOnly, Reported;
        "The first pause between two login attempts."
    "sasl.mechanism.controller.protocol": String = "GSSAPI", in Any, ReadOnly, Reported;
        "The SASL mechanism towards controllers."
    "sasl.mechanism.inter.broker.protocol": String = "GSSAPI", in Any, PerBroker, Reported;
        "The SASL mechanism among brokers."
    "sasl.kerberos.kinit.cmd": String = "/usr/bin/kinit", in Any, PerBroker, Reported;
        "The path of kinit."
    "sasl.kerberos.min.time.before.relogin": Long = "60000", in Any, PerBroker, Reported;
        "The least time between two Kerberos logins."
    "sasl.kerberos.principal.to.local.rules": List = "DEFAULT", in Any, PerBroker, Reported;
        "How Kerberos principals become short names."
    "sasl.kerberos.service.name": String = null, in Any, PerBroker, Reported;
        "The Kerberos name of the broker."
    "sasl.kerberos.ticket.renew.jitter": Double = "0.05", in Any, PerBroker, Reported;
        "By how much the renewal of a Kerberos ticket varies."
    "sasl.kerberos.ticket.renew.window.factor": Double = "0.8", in Any, PerBroker, Reported;
        "The share of a Kerberos ticket's life after which it is renewed."
    "sasl.oauthbearer.assertion.algorithm": String = "RS256",
        in OneOfAnyCase(&["ES256", "RS256"]), ReadOnly, Reported;
        "The algorithm that signs OAuth assertions."
    "sasl.oauthbearer.assertion.claim.aud": String = null, in Any, ReadOnly, Reported;
        "The audience of OAuth assertions."
    "sasl.oauthbearer.assertion.claim.exp.seconds": Int = "300", in Between(0, 86_400), ReadOnly, Reported;
        "How long an OAuth assertion is valid."
    "sasl.oauthbearer.assertion.claim.iss": String = null, in Any, ReadOnly, Reported;
        "The issuer of OAuth assertions."
    "sasl.oauthbearer.assertion.claim.jti.include": Boolean = "false", in Any, ReadOnly, Reported;
        "Whether OAuth assertions carry an id."
    "sasl.oauthbearer.assertion.claim.nbf.seconds": Int = "60", in Between(0, 3_600), ReadOnly, Reported;
        "How far back an OAuth assertion's validity begins."
    "sasl.oauthbearer.assertion.claim.sub": String = null, in Any, ReadOnly, Reported;
        "The subject of OAuth assertions."
    "sasl.oauthbearer.assertion.file": String = null, in Any, ReadOnly, Reported;
        "A file that holds an OAuth assertion."
    "sasl.oauthbearer.assertion.private.key.file": String = null, in Any, ReadOnly, Reported;
        "The key that signs OAuth assertions."
    "sasl.oauthbearer.assertion.private.key.passphrase": Password = null, in Any, ReadOnly, Reported;
        "The passphrase of that key."
    "sasl.oauthbearer.assertion.template.file": String = null, in Any, ReadOnly, Reported;
        "A template of OAuth assertions."
    "sasl.oauthbearer.client.credentials.client.id": String = null, in Any, ReadOnly, Reported;
        "The OAuth client id."
    "sasl.oauthbearer.client.credentials.client.secret": Password = null, in Any, ReadOnly, Reported;
        "The OAuth client secret."
    "sasl.oauthbearer.clock.skew.seconds": Int = "30", in Any, ReadOnly, Reported;
        "By how much the OAuth provider's clock may differ."
    "sasl.oauthbearer.expected.audience": List = "", in Any, ReadOnly, Reported;
        "Audiences accepted in OAuth tokens."
    "sasl.oauthbearer.expected.issuer": String = null, in Any, ReadOnly, Reported;
        "The issuer accepted in OAuth tokens."
    "sasl.oauthbearer.jwks.endpoint.refresh.ms": Long = "3600000", in Any, ReadOnly, Reported;
        "How often the OAuth provider's keys are fetched."
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": Long = "10000", in Any, ReadOnly, Reported;
        "The longest pause between two attempts to fetch keys."
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": Long = "100", in Any, ReadOnly, Reported;
        "The first pause between two attempts to fetch keys."
    "sasl.oauthbearer.jwks.endpoint.url": String = null, in Any, ReadOnly, Reported;
        "Where the OAuth provider's keys are."
    "sasl.oauthbearer.jwt.retriever.class": Class = "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
        in Any, ReadOnly, Reported;
        "The Java class that obtains OAuth tokens."
    "sasl.oauthbearer.jwt.validator.class": Class = "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
        in Any, ReadOnly, Reported;
        "The Java class that checks OAuth tokens."
    "sasl.oauthbearer.scope": String = null, in Any, ReadOnly, Reported;
        "The scope asked for in OAuth tokens."
    "sasl.oauthbearer.scope.claim.name": String = "scope", in Any, ReadOnly, Reported;
        "The claim that holds the scope."
    "sasl.oauthbearer.sub.claim.name": String = "sub", in Any, ReadOnly, Reported;
        "The claim that holds the subject."
    "sasl.oauthbearer.token.endpoint.url": String = null, in Any, ReadOnly, Reported;
        "Where OAuth tokens are obtained."
    "ssl.allow.dn.changes": Boolean = "false", in Any, ReadOnly, Reported;
        "Whether a new certificate may have another distinguished name."
    "ssl.allow.san.changes": Boolean = "false", in Any, ReadOnly, Reported;
        "Whether a new certificate may have other alternative names."
    "ssl.cipher.suites": List = "", in Any, PerBroker, Reported;
        "Cipher suites offered by TLS listeners."
    "ssl.client.auth": String = "none", in OneOf(&["required", "requested", "none"]), PerBroker, Reported;
        "Whether TLS clients must show a certificate."
    "ssl.enabled.protocols": List = "TLSv1.2,TLSv1.3", in Any, PerBroker, Reported;
        "TLS versions offered."
    "ssl.endpoint.identification.algorithm": String = "https", in Any, PerBroker, Reported;
        "How host names in certificates are checked."
    "ssl.engine.factory.class": Class = null, in Any, PerBroker, Reported;
        "A Java class that makes TLS engines."
    "ssl.key.password": Password = null, in Any, PerBroker, Reported;
        "The password of the private key."
    "ssl.keymanager.algorithm": String = "SunX509", in Any, PerBroker, Reported;
        "Java's key manager algorithm."
    "ssl.keystore.certificate.chain": Password = null, in Any, PerBroker, Reported;
        "The certificate chain, as PEM text."
    "ssl.keystore.key": Password = null, in Any, PerBroker, Reported;
        "The private key, as PEM text."
    "ssl.keystore.location": String = null, in Any, PerBroker, Reported;
        "The file with key and certificate."
    "ssl.keystore.password": Password = null, in Any, PerBroker, Reported;
        "The password of that file."
    "ssl.keystore.type": String = "JKS", in Any, PerBroker, Reported;
        "The format of that file."
    "ssl.principal.mapping.rules": String = "DEFAULT", in Any, ReadOnly, Reported;
        "How certificate names become principals."
    "ssl.protocol": String = "TLSv1.3", in Any, PerBroker, Reported;
        "The TLS version of Java's context."
    "ssl.provider": String = null, in Any, PerBroker, Reported;
        "Java's TLS provider."
    "ssl.secure.random.implementation": String = null, in Any, PerBroker, Reported;
        "Java's random number generator."
    "ssl.trustmanager.algorithm": String = "PKIX", in Any, PerBroker, Reported;
        "Java's trust manager algorithm."
    "ssl.truststore.certificates": Password = null, in Any, PerBroker, Reported;
        "Trusted certificates, as PEM text."
    "ssl.truststore.location": String = null, in Any, PerBroker, Reported;
        "The file with trusted certificates."
    "ssl.truststore.password": Password = null, in Any, PerBroker, Reported;
        "The password of that file."
    "ssl.truststore.type": String = "JKS", in Any, PerBroker, Reported;
        "The format of that file."
}
