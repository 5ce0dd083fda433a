// Fills an Apache Kafka with what `streamd import kafka` has to cope with. Run by `make`, see README.md.

import java.util.*;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class Make {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static String brokers;

    public static void main(String[] args) throws Exception {
        brokers = args[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            topics(admin);
            for (String codec : CODECS) {
                orders(codec);
            }
            states();
            trimmed(admin);
            committed();
            groups();
            producers(admin);
            // Compaction of what was rolled: the cleaner comes by every tenth of a second.
            Thread.sleep(4000);
        }
    }

    static void topics(Admin admin) throws Exception {
        var compact = Map.of("cleanup.policy", "compact", "segment.ms", "500", "min.cleanable.dirty.ratio", "0.01",
            "delete.retention.ms", "100");
        admin.createTopics(List.of(
            new NewTopic("orders", 2, (short) 1).configs(Map.of("retention.ms", "-1", "max.message.bytes", "2000000")),
            new NewTopic("states", 1, (short) 1).configs(compact),
            new NewTopic("trimmed", 1, (short) 1).configs(Map.of("retention.ms", "-1", "segment.ms", "500")),
            new NewTopic("committed", 1, (short) 1).configs(Map.of("retention.ms", "-1")),
            new NewTopic("aborted", 1, (short) 1).configs(Map.of("retention.ms", "-1")),
            new NewTopic("empty", 3, (short) 1),
            new NewTopic("gone", 1, (short) 1))).all().get();
        admin.deleteTopics(List.of("gone")).all().get();
    }

    static KafkaProducer<byte[], byte[]> producer(String... more) {
        var settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("linger.ms", "50");
        for (int n = 0; n + 1 < more.length; n += 2) {
            settings.put(more[n], more[n + 1]);
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] text(String text) {
        return text == null ? null : text.getBytes();
    }

    // Ten records of each codec on either partition: keys and none, a null, headers, times of their own.
    static void orders(String codec) throws Exception {
        try (var producer = producer("compression.type", codec)) {
            for (int n = 0; n < 20; n++) {
                var record = new ProducerRecord<>("orders", n % 2, 1_700_000_000_000L + n, text(n % 3 == 0 ? null : "k" + n),
                    n == 7 ? null : text(codec + "-" + n + "-" + "x".repeat(40)));
                record.headers().add(new RecordHeader("codec", text(codec)));
                producer.send(record);
            }
        }
    }

    // Five keys a hundred times, the last of them deleted; in segments that are compacted.
    static void states() throws Exception {
        try (var producer = producer()) {
            for (int round = 0; round < 20; round++) {
                for (int key = 0; key < 5; key++) {
                    var value = key == 4 && round == 19 ? null : "v" + round;
                    producer.send(new ProducerRecord<>("states", text("key" + key), text(value)));
                }
                producer.flush();
                Thread.sleep(round % 5 == 4 ? 700 : 20);
            }
        }
    }

    static void trimmed(Admin admin) throws Exception {
        try (var producer = producer()) {
            for (int n = 0; n < 30; n++) {
                producer.send(new ProducerRecord<>("trimmed", null, text("t" + n))).get();
                if (n % 10 == 9) {
                    Thread.sleep(600);
                }
            }
        }
        admin.deleteRecords(Map.of(new TopicPartition("trimmed", 0), RecordsToDelete.beforeOffset(17))).all().get();
    }

    static void committed() throws Exception {
        try (var producer = producer("transactional.id", "maker")) {
            producer.initTransactions();
            for (int round = 0; round < 3; round++) {
                producer.beginTransaction();
                for (int n = 0; n < 4; n++) {
                    producer.send(new ProducerRecord<>("committed", null, text("c" + round + "-" + n)));
                }
                if (round == 1) {
                    producer.sendOffsetsToTransaction(
                        Map.of(new TopicPartition("orders", 0), new OffsetAndMetadata(11, "from a transaction")),
                        new ConsumerGroupMetadata("in-transaction"));
                }
                producer.commitTransaction();
            }
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("aborted", null, text("never mind")));
            producer.flush();
            producer.abortTransaction();
        }
    }

    static Consumer<byte[], byte[]> consumer(String group, String protocol) {
        var settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("group.id", group);
        settings.put("group.protocol", protocol);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    // A classic group that committed 20 times and one of KIP-848, both in the midst of orders; one of which nothing is
    // left but a deletion.
    static void groups() throws Exception {
        for (String[] group : new String[][] {{"billing", "classic"}, {"shipping", "consumer"}, {"deleted", "classic"}}) {
            try (var consumer = consumer(group[0], group[1])) {
                consumer.subscribe(List.of("orders"));
                int seen = 0;
                while (seen < 100) {
                    seen += consumer.poll(java.time.Duration.ofMillis(500)).count();
                }
                for (int n = 1; n <= 20; n++) {
                    consumer.commitSync(Map.of(
                        new TopicPartition("orders", 0), new OffsetAndMetadata(n, "half way"),
                        new TopicPartition("orders", 1), new OffsetAndMetadata(2 * n)));
                    Thread.sleep(100);
                }
            }
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            admin.deleteConsumerGroups(List.of("deleted")).all().get();
        }
    }

    // Idempotent producers that wrote last, and things that are not taken over.
    static void producers(Admin admin) throws Exception {
        for (int n = 0; n < 3; n++) {
            try (var producer = producer()) {
                producer.send(new ProducerRecord<>("orders", 0, text("p" + n), text("idempotent"))).get();
            }
        }
        admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion("alice",
            new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "secret"))).all().get();
        admin.incrementalAlterConfigs(Map.of(
            new org.apache.kafka.common.config.ConfigResource(
                org.apache.kafka.common.config.ConfigResource.Type.BROKER, "1"),
            List.of(new AlterConfigOp(new ConfigEntry("log.cleaner.threads", "2"), AlterConfigOp.OpType.SET)))).all().get();
    }
}
