import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * Apache Flink's exactly-once sink: a job that numbers its records and writes them in transactions, one a checkpoint and
 * writer. In its first life it fails over once inside its cluster; then the whole cluster is gone with no chance to say
 * goodbye, when a checkpoint is complete and its transactions are not. Its second life begins at that checkpoint with half
 * the writers: it resumes those transactions by the producer ids and epochs of before, to commit them, and aborts what
 * else was left open. A reader of committed records must find each number once. All that with both ways that Flink has
 * of naming its transactions and of finding those that were left open.
 */
public final class FlinkFailover {
    private static final int RECORDS = 4000;
    /** Exit code of a life that ended on purpose in the middle. */
    private static final int KILLED = 77;
    private static final int LIFE_SECONDS = 60;
    private static final int TRIES = 5;
    /** Of the first life; the second has one. */
    private static final int WRITERS = 2;
    /** What the connector says when it takes up a transaction of before. */
    private static final String RESUMES = "Attempting to resume transaction";

    private final String broker;
    private final TransactionNamingStrategy naming;
    private final String name;
    private final Admin admin;

    private FlinkFailover(String broker, TransactionNamingStrategy naming) {
        this.broker = broker;
        this.naming = naming;
        this.name = Check.freshName("flink-" + naming.name().toLowerCase());
        this.admin = Admin.create(Map.of("bootstrap.servers", broker));
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 1) {
            new Job(args).run();
            System.exit(0);
        }
        System.out.println("version: " + EnvironmentInformation.getVersion() + " with client " + AppInfoParser.getVersion());
        try {
            for (TransactionNamingStrategy naming : TransactionNamingStrategy.values()) {
                int tries = 0;
                while (!new FlinkFailover(args[0], naming).run()) {
                    Check.expectTrue("a life ends before its transactions do", ++tries < TRIES, tries);
                }
            }
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println(("FAIL flink: " + error).replace('\n', ' '));
            System.exit(1);
        }
        System.out.println("PASS");
        System.exit(0);
    }

    /** Whether the first life left something open; if the writers were told of the checkpoint first, it did not. */
    private boolean run() throws Exception {
        Check.step(naming + ": first life");
        Path state = Files.createTempDirectory("flink");
        get(admin.createTopics(List.of(new NewTopic(name, Check.PARTITIONS, (short) 1))).all());
        Check.settle();
        int code = live(state, WRITERS, "");
        Check.expect("the exit code of the first life", KILLED, code);
        Check.settle();
        Map<TransactionState, Long> left = transactions();
        Check.step("left behind: " + left);
        if (!left.containsKey(TransactionState.ONGOING)) {
            return false;
        }
        long before = resumed(state);
        Check.step("second life");
        code = live(state, 1, lastCheckpoint(state).toUri().toString());
        Check.expect("the exit code of the second life", 0, code);
        Check.settle();
        long resumed = resumed(state) - before;
        Check.step("resumed: " + before + " after the failure, " + resumed + " after the end");
        Check.expectTrue("transactions were resumed after the failure and after the end", before > 0 && resumed > 0, resumed);
        complete();
        get(admin.deleteTopics(List.of(name)).all());
        return true;
    }

    /** One life of the job, to its end. */
    private int live(Path state, int writers, String checkpoint) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                ProcessHandle.current().info().command().orElse("java"),
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
                "-cp",
                System.getProperty("java.class.path"),
                "FlinkFailover"));
        command.addAll(List.of(broker, name, naming.name(), state.toString(), Integer.toString(writers), checkpoint));
        Process life = new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log(state)))
                .start();
        if (!life.waitFor(LIFE_SECONDS, TimeUnit.SECONDS)) {
            life.destroyForcibly().waitFor();
            throw new Check.Mismatch("the job is still running after " + LIFE_SECONDS + " s: " + tail(state));
        }
        int code = life.exitValue();
        if (code != 0 && code != KILLED) {
            throw new Check.Mismatch("the job ended with exit code " + code + ": " + tail(state));
        }
        return code;
    }

    private static File log(Path state) {
        return new File(state.toFile(), "job.log");
    }

    private static String tail(Path state) throws IOException {
        List<String> lines = Files.readAllLines(log(state).toPath());
        return String.join(" / ", lines.subList(Math.max(0, lines.size() - 40), lines.size()));
    }

    private static long resumed(Path state) throws IOException {
        try (Stream<String> lines = Files.lines(log(state).toPath())) {
            return lines.filter(line -> line.contains(RESUMES)).count();
        }
    }

    /** The last checkpoint that is whole. */
    private static Path lastCheckpoint(Path state) throws IOException {
        try (Stream<Path> all = Files.walk(state)) {
            Optional<Path> last = all.filter(path -> path.endsWith("_metadata"))
                    .map(Path::getParent)
                    .max(Comparator.comparing(path -> Integer.valueOf(path.getFileName().toString().substring("chk-".length()))));
            return last.orElseThrow(() -> new Check.Mismatch("no checkpoint in " + state));
        }
    }

    /** How many of the job's transactions are in which state. */
    private Map<TransactionState, Long> transactions() throws Exception {
        return get(admin.listTransactions().all()).stream()
                .filter(one -> one.transactionalId().startsWith(name))
                .collect(Collectors.groupingBy(TransactionListing::state, TreeMap::new, Collectors.counting()));
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(Check.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private List<TopicPartition> partitions() {
        return IntStream.range(0, Check.PARTITIONS).mapToObj(p -> new TopicPartition(name, p)).toList();
    }

    /** Every number is there once, nothing is open, and some was written that nobody may see. */
    private void complete() throws Exception {
        Map<String, Integer> times = new HashMap<>();
        read("read_committed").forEach(value -> times.merge(value, 1, Integer::sum));
        Set<String> missing = new TreeSet<>();
        for (int n = 0; n < RECORDS; n++) {
            if (!times.containsKey(Integer.toString(n))) {
                missing.add(Integer.toString(n));
            }
        }
        times.values().removeIf(count -> count == 1);
        Check.expect("numbers that are there more than once", Map.of(), times);
        Check.expect("numbers that are missing", Set.of(), missing);
        Check.expect("ends for readers of committed records", ends(IsolationLevel.READ_UNCOMMITTED), ends(IsolationLevel.READ_COMMITTED));
        int all = read("read_uncommitted").size();
        Check.expectTrue("some records were aborted, of " + all, all > RECORDS, all);
        Map<TransactionState, Long> states = transactions();
        Check.step("in the end: " + states + ", " + (all - RECORDS) + " records aborted");
        List<TransactionState> ended =
                List.of(TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT, TransactionState.EMPTY);
        Check.expectTrue("nothing is open", ended.containsAll(states.keySet()), states);
    }

    private Map<TopicPartition, Long> ends(IsolationLevel isolation) throws Exception {
        Map<TopicPartition, OffsetSpec> asked =
                partitions().stream().collect(Collectors.toMap(p -> p, p -> OffsetSpec.latest()));
        Map<TopicPartition, Long> ends = new HashMap<>();
        get(admin.listOffsets(asked, new ListOffsetsOptions(isolation)).all())
                .forEach((partition, offset) -> ends.put(partition, offset.offset()));
        return ends;
    }

    private List<String> read(String isolation) {
        List<String> seen = new ArrayList<>();
        Map<String, Object> settings = Map.of("bootstrap.servers", broker, "isolation.level", isolation);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(partitions());
            consumer.seekToBeginning(partitions());
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions());
            long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(Check.WAIT_SECONDS);
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                Check.expectTrue("the end of " + name, System.nanoTime() < limit, seen.size());
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    seen.add(record.value());
                }
            }
        }
        return seen;
    }

    /** The job itself, in a process of its own. */
    private static final class Job {
        private final String broker;
        private final String name;
        private final TransactionNamingStrategy naming;
        private final Path state;
        private final int writers;
        private final String checkpoint;

        Job(String[] args) {
            broker = args[0];
            name = args[1];
            naming = TransactionNamingStrategy.valueOf(args[2]);
            state = Path.of(args[3]);
            writers = Integer.parseInt(args[4]);
            checkpoint = args[5];
        }

        void run() throws Exception {
            Configurator.setLevel("org.apache.flink.connector.kafka.sink", Level.INFO);
            Map<String, String> settings = new HashMap<>(Map.of(
                    "execution.checkpointing.interval", "300 ms",
                    "execution.checkpointing.storage", "filesystem",
                    "execution.checkpointing.dir", state.toUri().toString(),
                    "execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION",
                    "execution.buffer-timeout.interval", "5 ms",
                    "restart-strategy.type", "fixed-delay",
                    "restart-strategy.fixed-delay.attempts", "1",
                    "restart-strategy.fixed-delay.delay", "100 ms"));
            boolean fails = checkpoint.isEmpty();
            if (!fails) {
                settings.put("execution.state-recovery.path", checkpoint);
            }
            var environment = StreamExecutionEnvironment.createLocalEnvironment(writers, Configuration.fromMap(settings));
            environment.fromSequence(0, RECORDS - 1)
                    .uid("numbers")
                    .map(new Fragile(fails))
                    .uid("fragile")
                    // Tasks of their own for the writers: they are told of a checkpoint after the one before them.
                    .rebalance()
                    .sinkTo(sink())
                    .uid("sink");
            environment.execute();
        }

        private KafkaSink<String> sink() {
            return KafkaSink.<String>builder()
                    .setBootstrapServers(broker)
                    .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                    .setTransactionalIdPrefix(name)
                    .setTransactionNamingStrategy(naming)
                    // Flink's own is an hour, more than brokers allow.
                    .setProperty("transaction.timeout.ms", "600000")
                    .setRecordSerializer(KafkaRecordSerializationSchema.<String>builder()
                            .setTopic(name)
                            .setKeySerializationSchema(new SimpleStringSchema())
                            .setValueSerializationSchema(new SimpleStringSchema())
                            .build())
                    .build();
        }
    }

    /**
     * Lets some records through each second. If it is to fail it does so twice: by an exception between two checkpoints,
     * and later by the end of the process when it is told that a checkpoint is complete.
     */
    private static final class Fragile implements MapFunction<Long, String>, CheckpointListener {
        private static final long serialVersionUID = 1;
        private static final AtomicBoolean THREW = new AtomicBoolean();
        private static final AtomicInteger CHECKPOINTS = new AtomicInteger();
        private static final AtomicInteger SINCE = new AtomicInteger();
        private static final int BETWEEN = 20;
        private static final int LAST = 1000;
        private final boolean fails;

        Fragile(boolean fails) {
            this.fails = fails;
        }

        @Override
        public String map(Long number) throws InterruptedException {
            // One that is to fail does not come to its end, however long checkpoints take.
            boolean isLast = number % (RECORDS / WRITERS) >= RECORDS / WRITERS - LAST;
            Thread.sleep(fails && isLast ? 10 : 1);
            // Far enough behind a checkpoint for records in the next transactions.
            boolean isBetween = CHECKPOINTS.get() >= WRITERS && SINCE.incrementAndGet() > BETWEEN;
            if (fails && isBetween && THREW.compareAndSet(false, true)) {
                CHECKPOINTS.set(0);
                throw new IllegalStateException("as planned");
            }
            return number.toString();
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            SINCE.set(0);
            if (CHECKPOINTS.incrementAndGet() > WRITERS && fails && THREW.get()) {
                Runtime.getRuntime().halt(KILLED);
            }
        }
    }
}
