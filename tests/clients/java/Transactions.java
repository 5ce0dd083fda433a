import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** The transactions of Apache Kafka's own Java client against a broker. */
public final class Transactions {
    private final String broker;
    private final String name = Check.freshName("java-txn");
    private final String source = name + "-in";
    private final String target = name + "-out";
    private final Admin admin;

    private Transactions(String broker) {
        this.broker = broker;
        this.admin = Admin.create(Map.of("bootstrap.servers", broker));
    }

    public static void main(String[] args) {
        System.out.println("version: " + AppInfoParser.getVersion());
        try {
            new Transactions(args[0]).run();
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println(("FAIL java-transactions: " + error).replace('\n', ' '));
            System.exit(1);
        }
        System.out.println("PASS");
        System.exit(0);
    }

    private void run() throws Exception {
        List<NewTopic> topics = List.of(
                new NewTopic(source, Check.PARTITIONS, (short) 1), new NewTopic(target, Check.PARTITIONS, (short) 1));
        get(admin.createTopics(topics).all());
        Check.settle();
        try (KafkaProducer<String, String> producer = producer("a")) {
            ends(producer);
            heldBack(producer);
            fenced(producer);
        }
        process();
        described();
        get(admin.deleteTopics(List.of(source, target)).all());
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(Check.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private KafkaProducer<String, String> producer(String suffix) {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", broker, "transactional.id", name + "-" + suffix, "linger.ms", "5");
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    private KafkaConsumer<String, String> consumer(String group, String isolation) {
        Map<String, Object> settings = new HashMap<>(Map.of(
                "bootstrap.servers", broker,
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false",
                "max.poll.records", "7",
                "isolation.level", isolation));
        if (group != null) {
            settings.put("group.id", group);
        }
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** One record a word, spread over the partitions. */
    private void write(KafkaProducer<String, String> producer, List<String> words) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int n = 0; n < words.size(); n++) {
            sent.add(producer.send(new ProducerRecord<>(source, n % Check.PARTITIONS, "k" + n, words.get(n))));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            get(one);
        }
    }

    private List<TopicPartition> partitions(String topic) {
        return IntStream.range(0, Check.PARTITIONS).mapToObj(p -> new TopicPartition(topic, p)).toList();
    }

    /** What a consumer of this isolation sees from the first record to the end that it is told. */
    private Map<Integer, List<String>> read(String topic, String isolation) {
        Map<Integer, List<String>> seen = new TreeMap<>();
        try (KafkaConsumer<String, String> consumer = consumer(null, isolation)) {
            consumer.assign(partitions(topic));
            consumer.seekToBeginning(partitions(topic));
            partitions(topic).forEach(p -> seen.put(p.partition(), new ArrayList<>()));
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions(topic));
            long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(Check.WAIT_SECONDS);
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                Check.expectTrue("the end of " + topic, System.nanoTime() < limit, seen);
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    seen.get(record.partition()).add(record.value());
                }
            }
        }
        return seen;
    }

    private Map<Integer, Long> ends(IsolationLevel isolation) throws Exception {
        Map<TopicPartition, OffsetSpec> asked =
                partitions(source).stream().collect(Collectors.toMap(p -> p, p -> OffsetSpec.latest()));
        var found = get(admin.listOffsets(asked, new ListOffsetsOptions(isolation)).all());
        Map<Integer, Long> ends = new TreeMap<>();
        found.forEach((partition, offset) -> ends.put(partition.partition(), offset.offset()));
        return ends;
    }

    private void ends(KafkaProducer<String, String> producer) throws Exception {
        Check.step("commit, abort, commit");
        for (String kind : Words.ROUNDS) {
            producer.beginTransaction();
            write(producer, Words.of(kind));
            if (kind.equals("aborted")) {
                producer.abortTransaction();
            } else {
                producer.commitTransaction();
            }
        }
        Check.settle();
        Check.expect("what is committed", Words.committed(), read(source, "read_committed"));
        Check.expect("all that was written", Words.everything(), read(source, "read_uncommitted"));
    }

    private void heldBack(KafkaProducer<String, String> producer) throws Exception {
        Check.step("an open transaction holds readers back");
        Map<Integer, Long> before = ends(IsolationLevel.READ_COMMITTED);
        producer.beginTransaction();
        write(producer, Words.of("open"));
        Check.expect("the stable end", before, ends(IsolationLevel.READ_COMMITTED));
        long each = Words.EACH / Check.PARTITIONS;
        before.replaceAll((partition, end) -> end + each);
        Check.expect("the end", before, ends(IsolationLevel.READ_UNCOMMITTED));
        Check.expect("what is committed", Words.committed(), read(source, "read_committed"));
        var state = get(admin.describeTransactions(List.of(name + "-a")).all()).get(name + "-a");
        Check.expect("its state", "Ongoing", state.state().toString());
        Check.expect("its partitions", Set.copyOf(partitions(source)), state.topicPartitions());
        producer.abortTransaction();
        // One more for the marker.
        before.replaceAll((partition, end) -> end + 1);
        Check.settle();
        Check.expect("the stable end after it", before, ends(IsolationLevel.READ_COMMITTED));
    }

    private void fenced(KafkaProducer<String, String> producer) throws Exception {
        Check.step("a second producer of the same transactional id");
        producer.beginTransaction();
        write(producer, Words.of("zombie"));
        try (KafkaProducer<String, String> second = producer("a")) {
            try {
                producer.commitTransaction();
                throw new Check.Mismatch("the first producer's commit: expected a refusal, got success");
            } catch (ProducerFencedException | InvalidProducerEpochException refused) {
                Check.step("refused: " + refused.getClass().getSimpleName());
            }
            second.beginTransaction();
            write(second, Words.of("last"));
            second.commitTransaction();
        }
        Check.settle();
        Check.expect("what is committed", Words.committed("last"), read(source, "read_committed"));
    }

    /** Reads, writes what it read to the other topic, commits both as one; some transactions are aborted. */
    private void process() throws Exception {
        Check.step("read, process, write");
        int wanted = Words.committed("last").values().stream().mapToInt(List::size).sum();
        int done = 0;
        int turn = 0;
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(Check.WAIT_SECONDS);
        try (KafkaProducer<String, String> producer = producer("b");
                KafkaConsumer<String, String> consumer = consumer(name + "-group", "read_committed")) {
            consumer.subscribe(List.of(source));
            while (done < wanted) {
                Check.expectTrue("records processed in time", System.nanoTime() < limit, done);
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                turn++;
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(target, record.partition(), null, record.value()));
                    offsets.put(
                            new TopicPartition(source, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (turn % 3 == 0) {
                    producer.abortTransaction();
                    consumer.committed(consumer.assignment()).forEach((partition, offset) ->
                            consumer.seek(partition, offset == null ? 0 : offset.offset()));
                } else {
                    producer.commitTransaction();
                    done += records.count();
                }
            }
            Check.expectTrue("some were aborted", turn >= 3, turn);
            Check.settle();
            Check.expect("what came out", Words.committed("last"), read(target, "read_committed"));
            var committed = consumer.committed(Set.copyOf(partitions(source)));
            for (TopicPartition partition : partitions(source)) {
                Check.expectTrue("an offset is committed in " + partition, committed.get(partition) != null, committed);
            }
        }
    }

    /** What administrators see of it all. */
    private void described() throws Exception {
        Check.step("list transactions, describe producers");
        Map<String, String> states = new TreeMap<>();
        get(admin.listTransactions().all()).stream()
                .filter(one -> one.transactionalId().startsWith(name))
                .forEach(one -> states.put(one.transactionalId(), one.state().toString()));
        Check.expect("states", Map.of(name + "-a", "CompleteCommit", name + "-b", "CompleteCommit"), states);
        var producers = get(admin.describeProducers(partitions(target)).all());
        producers.forEach((partition, state) -> {
            Check.expect("producers of " + partition, 1, state.activeProducers().size());
            Check.expectTrue("nothing is open", state.activeProducers().get(0).currentTransactionStartOffset().isEmpty(), state);
        });
    }
}
