import java.io.File;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.connect.cli.ConnectDistributed;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.source.ExactlyOnceSupport;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;

/**
 * A Kafka Connect worker with {@code exactly.once.source.support=enabled} and a source that counts, killed with no chance
 * to say goodbye and started again. Its topic must hold the numbers 0, 1, 2 and so on, each once and in order.
 */
public final class ConnectKilled {
    private static final int KILLS = 2;
    private static final int NUMBERS = 3000;

    private final String broker;
    private final String name = Check.freshName("connect");
    private final String target = name + "-out";

    private ConnectKilled(String broker) {
        this.broker = broker;
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 1) {
            ConnectDistributed.main(new String[] {args[1]});
            return;
        }
        System.out.println("version: " + AppInfoParser.getVersion());
        try {
            new ConnectKilled(args[0]).run();
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println(("FAIL kafka-connect: " + error).replace('\n', ' '));
            System.exit(1);
        }
        System.out.println("PASS");
        System.exit(0);
    }

    /** A source of the numbers below {@link #NUMBERS}. */
    public static final class Numbers extends SourceConnector {
        private Map<String, String> settings;

        @Override
        public void start(Map<String, String> settings) {
            this.settings = settings;
        }

        @Override
        public Class<? extends Task> taskClass() {
            return NumbersTask.class;
        }

        @Override
        public List<Map<String, String>> taskConfigs(int most) {
            return List.of(settings);
        }

        @Override
        public ExactlyOnceSupport exactlyOnceSupport(Map<String, String> settings) {
            return ExactlyOnceSupport.SUPPORTED;
        }

        @Override
        public void stop() {}

        @Override
        public ConfigDef config() {
            return new ConfigDef();
        }

        @Override
        public String version() {
            return "1";
        }
    }

    /** Counts on from where the offsets say that it was. */
    public static final class NumbersTask extends SourceTask {
        private static final Map<String, String> SOURCE = Map.of("source", "numbers");
        private String topic;
        private long next;

        @Override
        public void start(Map<String, String> settings) {
            topic = settings.get("topic");
            Map<String, Object> offset = context.offsetStorageReader().offset(SOURCE);
            next = offset == null ? 0 : (Long) offset.get("next");
        }

        @Override
        public List<SourceRecord> poll() throws InterruptedException {
            Thread.sleep(next < NUMBERS ? 10 : 100);
            List<SourceRecord> records = new ArrayList<>();
            for (int i = 0; i < 10 && next < NUMBERS; i++) {
                String value = Long.toString(next);
                next++;
                records.add(new SourceRecord(SOURCE, Map.of("next", next), topic, Schema.STRING_SCHEMA, value));
            }
            return records;
        }

        @Override
        public void stop() {}

        @Override
        public String version() {
            return "1";
        }
    }

    private void run() throws Exception {
        Path state = Files.createTempDirectory("connect");
        int port;
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        prepare(state, port);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            admin.createTopics(List.of(new NewTopic(target, 1, (short) 1))).all().get(Check.WAIT_SECONDS, TimeUnit.SECONDS);
            Check.settle();
            Process worker = worker(state);
            ask(port);
            try (Reader reader = new Reader()) {
                for (int life = 0; life < KILLS; life++) {
                    reader.read(NUMBERS * (life + 1) / (KILLS + 1));
                    Check.step("numbers read: " + reader.next + "; killing it");
                    worker.destroyForcibly().waitFor();
                    worker = worker(state);
                }
                reader.read(NUMBERS);
                reader.complete();
            } finally {
                worker.destroyForcibly().waitFor();
            }
            List<String> made = admin.listTopics().names().get(Check.WAIT_SECONDS, TimeUnit.SECONDS).stream()
                    .filter(topic -> topic.startsWith(name)).toList();
            admin.deleteTopics(made).all().get(Check.WAIT_SECONDS, TimeUnit.SECONDS);
        }
    }

    /** What the worker needs in files: its settings, and a word on where the connector is. */
    private void prepare(Path state, int port) throws Exception {
        Map<String, String> settings = new HashMap<>(Map.of(
                "bootstrap.servers", broker,
                "group.id", name,
                "exactly.once.source.support", "enabled",
                "key.converter", "org.apache.kafka.connect.storage.StringConverter",
                "value.converter", "org.apache.kafka.connect.storage.StringConverter",
                "listeners", "http://127.0.0.1:" + port,
                "plugin.discovery", "service_load",
                // What a killed worker leaves is found out soon.
                "session.timeout.ms", "6000",
                "heartbeat.interval.ms", "500",
                "scheduled.rebalance.max.delay.ms", "0"));
        for (String kept : List.of("config", "offset", "status")) {
            settings.put(kept + ".storage.topic", name + "-" + kept);
            settings.put(kept + ".storage.replication.factor", "1");
        }
        settings.put("offset.storage.partitions", "1");
        settings.put("status.storage.partitions", "1");
        String lines = settings.entrySet().stream().map(Object::toString).collect(Collectors.joining("\n"));
        Files.writeString(state.resolve("worker.properties"), lines + "\n");
        Path services = Files.createDirectories(state.resolve("plugins/META-INF/services"));
        Files.writeString(services.resolve(SourceConnector.class.getName()), Numbers.class.getName() + "\n");
    }

    private Process worker(Path state) throws Exception {
        Check.step("start the worker");
        List<String> command = List.of(
                ProcessHandle.current().info().command().orElse("java"),
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
                "-cp",
                state.resolve("plugins") + File.pathSeparator + System.getProperty("java.class.path"),
                "ConnectKilled",
                broker,
                state.resolve("worker.properties").toString());
        return new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(new File(state.toFile(), "worker.log")))
                .start();
    }

    /** Has the worker run the source, as soon as it listens. */
    private void ask(int port) throws Exception {
        String settings = """
                {"connector.class": "%s", "tasks.max": "1", "topic": "%s", "exactly.once.support": "required",
                 "transaction.boundary": "interval", "transaction.boundary.interval.ms": "100"}
                """.formatted(Numbers.class.getName(), target);
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/connectors/numbers/config"))
                .header("Content-Type", "application/json")
                .timeout(Duration.ofSeconds(Check.WAIT_SECONDS))
                .PUT(HttpRequest.BodyPublishers.ofString(settings))
                .build();
        HttpClient client = HttpClient.newHttpClient();
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(2L * Check.WAIT_SECONDS);
        String last = "nothing";
        while (System.nanoTime() < limit) {
            try {
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() / 100 == 2) {
                    return;
                }
                last = answer.statusCode() + " " + answer.body();
            } catch (java.io.IOException notYet) {
                last = notYet.toString();
            }
            Thread.sleep(200);
        }
        throw new Check.Mismatch("the worker does not take the connector: " + last);
    }

    /** Reads the numbers as they are committed and checks each. */
    private final class Reader implements AutoCloseable {
        private final KafkaConsumer<String, String> consumer;
        private long next;
        private long end;

        Reader() {
            Map<String, Object> settings = Map.of(
                    "bootstrap.servers", broker, "isolation.level", "read_committed", "auto.offset.reset", "earliest");
            consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
            consumer.assign(List.of(new TopicPartition(target, 0)));
        }

        /** Reads until there are that many in all. */
        void read(long wanted) {
            long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(2L * Check.WAIT_SECONDS);
            while (next < wanted) {
                Check.expectTrue("numbers, of " + wanted, System.nanoTime() < limit, next);
                take(Duration.ofMillis(100));
            }
        }

        private void take(Duration wait) {
            for (ConsumerRecord<String, String> record : consumer.poll(wait)) {
                Check.expect("number at " + record.offset(), Long.toString(next), record.value());
                next++;
                end = record.offset() + 1;
            }
        }

        /** Nothing more may come. */
        void complete() {
            take(Duration.ofSeconds(2));
            Check.expect("numbers in all", (long) NUMBERS, next);
            System.out.println("note: " + (end - next) + " offsets of markers and of what was aborted");
        }

        @Override
        public void close() {
            consumer.close();
        }
    }
}
