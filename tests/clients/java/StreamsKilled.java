import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * A Kafka Streams application with {@code processing.guarantee=exactly_once_v2} that counts words, killed with no chance
 * to say goodbye and started again while words come in. Its output must hold each word's counts 1, 2, 3 and so on, each
 * once and in order.
 */
public final class StreamsKilled {
    private static final int WORDS = 12;
    private static final int KILLS = 3;
    private static final int RECORDS = 3000;

    private final String broker;
    private final String name = Check.freshName("streams");
    private final String source = name + "-in";
    private final String target = name + "-out";

    private StreamsKilled(String broker) {
        this.broker = broker;
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 1) {
            count(args[0], args[1], args[2]);
            return;
        }
        System.out.println("version: " + AppInfoParser.getVersion());
        try {
            new StreamsKilled(args[0]).run();
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println(("FAIL kafka-streams: " + error).replace('\n', ' '));
            System.exit(1);
        }
        System.out.println("PASS");
        System.exit(0);
    }

    /** The application itself, in a process of its own. */
    private static void count(String broker, String name, String state) {
        Properties settings = new Properties();
        settings.putAll(Map.of(
                "bootstrap.servers", broker,
                "application.id", name,
                "processing.guarantee", "exactly_once_v2",
                "state.dir", state,
                "replication.factor", "1",
                "commit.interval.ms", "50",
                "statestore.cache.max.bytes", "0",
                // What a killed member leaves is found out soon.
                "session.timeout.ms", "6000",
                "heartbeat.interval.ms", "500",
                "auto.offset.reset", "earliest"));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(name + "-in", Consumed.with(Serdes.String(), Serdes.String()))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
                .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts"))
                        .withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.Long()))
                .toStream()
                .to(name + "-out", Produced.with(Serdes.String(), Serdes.Long()));
        new KafkaStreams(builder.build(), settings).start();
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(Check.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private void run() throws Exception {
        Path state = Files.createTempDirectory("streams");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            get(admin.createTopics(List.of(new NewTopic(source, 2, (short) 1), new NewTopic(target, 2, (short) 1)))
                    .all());
            Check.settle();
            Process application = application(state);
            try (KafkaProducer<String, String> words = words()) {
                Counts counts = new Counts();
                for (int life = 0; life <= KILLS; life++) {
                    int upTo = RECORDS * (life + 1) / (KILLS + 1);
                    int before = RECORDS * life / (KILLS + 1);
                    // It has begun with this part, and is in the middle of it, when it is killed.
                    write(words, before, upTo);
                    counts.read(life == KILLS ? RECORDS : before + (upTo - before) / 3);
                    Check.step("counts read: " + counts.total + "; killing it");
                    application.destroyForcibly().waitFor();
                    if (life < KILLS) {
                        application = application(state);
                    }
                }
                counts.complete();
            }
            List<String> made = get(admin.listTopics().names()).stream().filter(topic -> topic.startsWith(name)).toList();
            get(admin.deleteTopics(made).all());
        }
    }

    private Process application(Path state) throws Exception {
        Check.step("start the application");
        List<String> command = List.of(
                ProcessHandle.current().info().command().orElse("java"),
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
                "-cp",
                System.getProperty("java.class.path"),
                "StreamsKilled",
                broker,
                name,
                state.toString());
        return new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(new File(state.toFile(), "application.log")))
                .start();
    }

    private KafkaProducer<String, String> words() {
        Map<String, Object> settings = Map.of("bootstrap.servers", broker, "linger.ms", "5");
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private void write(KafkaProducer<String, String> producer, int from, int to) throws Exception {
        List<Future<?>> sent = new ArrayList<>();
        for (int n = from; n < to; n++) {
            sent.add(producer.send(new ProducerRecord<>(source, "word-" + n % WORDS, "n" + n)));
        }
        producer.flush();
        for (Future<?> one : sent) {
            get(one);
        }
    }

    /** Reads the counts as they are committed and checks each. */
    private final class Counts {
        private final KafkaConsumer<String, Long> consumer;
        private final Map<String, Long> last = new TreeMap<>();
        private int total;

        Counts() {
            Map<String, Object> settings = new HashMap<>(Map.of(
                    "bootstrap.servers", broker, "isolation.level", "read_committed", "auto.offset.reset", "earliest"));
            consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer());
            consumer.assign(List.of(new TopicPartition(target, 0), new TopicPartition(target, 1)));
        }

        /** Reads until there are that many in all. */
        void read(int wanted) {
            long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(2L * Check.WAIT_SECONDS);
            while (total < wanted) {
                Check.expectTrue("counts, of " + wanted, System.nanoTime() < limit, total);
                take(Duration.ofMillis(100));
            }
        }

        private void take(Duration wait) {
            for (ConsumerRecord<String, Long> record : consumer.poll(wait)) {
                String at = "count of " + record.key() + " at " + record.partition() + ":" + record.offset();
                Check.expect(at, last.getOrDefault(record.key(), 0L) + 1, record.value());
                last.put(record.key(), record.value());
                total++;
            }
        }

        /** Nothing more may come, and nothing is missing. */
        void complete() {
            take(Duration.ofSeconds(2));
            Check.expect("counts in all", RECORDS, total);
            for (int word = 0; word < WORDS; word++) {
                Check.expect("the last count of word " + word, (long) RECORDS / WORDS, last.get("word-" + word));
            }
            consumer.close();
        }
    }
}
