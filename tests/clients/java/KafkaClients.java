import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** kafka-clients, Apache Kafka's own Java client, against a broker. */
public final class KafkaClients {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final Set<Integer> EVERY = IntStream.range(0, Check.PARTITIONS).boxed().collect(Collectors.toSet());

    private final String broker;
    private final String topic = Check.freshName("java");
    private final Check.Ledger ledger = new Check.Ledger();
    private final Admin admin;

    private KafkaClients(String broker) {
        this.broker = broker;
        this.admin = Admin.create(Map.of("bootstrap.servers", broker));
    }

    public static void main(String[] args) {
        if (args.length < 1) {
            System.err.println("usage: KafkaClients HOST:PORT");
            System.exit(2);
        }
        System.out.println("version: " + AppInfoParser.getVersion());
        try {
            new KafkaClients(args[0]).run();
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println(("FAIL kafka-clients: " + error).replace('\n', ' '));
            System.exit(1);
        }
        System.out.println("PASS");
        System.exit(0);
    }

    private void run() throws Exception {
        String group = topic + "-group";
        create();
        Map<Integer, Check.Place> sent = produce();
        Check.step("first member of the group, from the earliest record");
        consume(group, Check.HALF);
        Check.step("the same group again, from where it left off");
        consume(group, Check.TOTAL);
        ledger.complete(sent);
        lookUp();
        inspectGroup(group);
        // The eager assignor that is the default, and the cooperative one.
        share(topic + "-eager", "org.apache.kafka.clients.consumer.RangeAssignor");
        share(topic + "-cooperative", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        grow();
        remove(List.of(group, topic + "-eager", topic + "-cooperative"));
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(Check.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private void create() throws Exception {
        Check.step("create a topic");
        NewTopic wanted = new NewTopic(topic, Check.PARTITIONS, (short) 1).configs(Map.of("retention.ms", "86400000"));
        var created = admin.createTopics(List.of(wanted));
        get(created.all());
        Check.expect("partitions in the answer of the creation", Check.PARTITIONS, get(created.numPartitions(topic)));
        Check.settle();
        try {
            get(admin.createTopics(List.of(wanted)).all());
            throw new Check.Mismatch("creating a topic twice: expected TOPIC_ALREADY_EXISTS, got success");
        } catch (ExecutionException error) {
            Check.expect("creating a topic twice", TopicExistsException.class, error.getCause().getClass());
        }
        Check.step("list and describe it");
        Set<String> names = get(admin.listTopics().names());
        Check.expectTrue("topic list must name the topic", names.contains(topic), names);
        TopicDescription described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        Check.expect("topic id as created and as described", get(created.topicId(topic)), described.topicId());
        Set<Integer> nodes = get(admin.describeCluster().nodes()).stream().map(n -> n.id()).collect(Collectors.toSet());
        Set<Integer> partitions = new HashSet<>();
        for (var partition : described.partitions()) {
            partitions.add(partition.partition());
            Check.expectTrue("leader must be a broker of the cluster", nodes.contains(partition.leader().id()), partition);
            Check.expect("replicas in sync", partition.replicas(), partition.isr());
        }
        Check.expect("partitions", EVERY, partitions);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        Check.expect("retention.ms", "86400000", config.get("retention.ms").value());
        Check.expect("source of retention.ms", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms").source());
        Check.expect("cleanup.policy", "delete", config.get("cleanup.policy").value());
    }

    private Map<Integer, Check.Place> produce() throws Exception {
        Map<Integer, Check.Place> sent = new TreeMap<>();
        for (int c = 0; c < CODECS.size(); c++) {
            Check.step("produce with " + CODECS.get(c));
            // Idempotence and acks=all are this client's defaults.
            Map<String, Object> config = Map.of(
                    "bootstrap.servers", broker,
                    "compression.type", CODECS.get(c),
                    "linger.ms", 5,
                    "key.serializer", ByteArraySerializer.class,
                    "value.serializer", ByteArraySerializer.class);
            Map<Integer, Future<RecordMetadata>> futures = new HashMap<>();
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
                for (int n = c * Check.TOTAL / CODECS.size(); n < (c + 1) * Check.TOTAL / CODECS.size(); n++) {
                    futures.put(n, producer.send(new ProducerRecord<>(
                            topic, null, Check.time(n), Check.key(n), Check.value(n), Check.headers(n))));
                }
            }
            for (var entry : futures.entrySet()) {
                RecordMetadata at = get(entry.getValue());
                sent.put(entry.getKey(), new Check.Place(at.partition(), at.offset()));
            }
        }
        return sent;
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(
                "bootstrap.servers", broker,
                "auto.offset.reset", "earliest",
                "enable.auto.commit", false,
                "heartbeat.interval.ms", 300,
                // Longer than this program waits for anything: a member that leaves must say so.
                "session.timeout.ms", 45_000,
                "max.partition.fetch.bytes", 20_000,
                "max.poll.records", 50,
                "key.deserializer", ByteArrayDeserializer.class,
                "value.deserializer", ByteArrayDeserializer.class));
        if (group != null) {
            config.put("group.id", group);
        }
        config.putAll(more);
        return new KafkaConsumer<>(config);
    }

    private int poll(KafkaConsumer<byte[], byte[]> consumer, int milliseconds) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(milliseconds));
        records.forEach(ledger::take);
        return records.count();
    }

    /** Runs a consumer until the ledger has {@code count} records, commits, looks at the group, and leaves it. */
    private void consume(String group, int count) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, Map.of())) {
            consumer.subscribe(List.of(topic));
            Check.until(count + " records", () -> {
                poll(consumer, 500);
                return ledger.seen.size() >= count;
            });
            if (count == Check.TOTAL) {
                Check.expect("records after the last one", 0, poll(consumer, 1000));
            }
            consumer.commitSync(committed());
            Set<TopicPartition> asked = committed().keySet();
            Check.expect("offsets committed", committed(), consumer.committed(asked));
            ConsumerGroupDescription described = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
            Check.expect("state of a group with a member", GroupState.STABLE, described.groupState());
            Check.expect("members", 1, described.members().size());
            var assigned = described.members().iterator().next().assignment().topicPartitions();
            Check.expect("partitions assigned to the only member", numbers(consumer.assignment()), numbers(assigned));
        }
    }

    private Map<TopicPartition, OffsetAndMetadata> committed() {
        Map<TopicPartition, OffsetAndMetadata> all = new HashMap<>();
        ledger.nextOffset.forEach((p, o) -> all.put(new TopicPartition(topic, p), new OffsetAndMetadata(o, "at " + o)));
        return all;
    }

    private static Set<Integer> numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::partition).collect(Collectors.toSet());
    }

    private void lookUp() throws Exception {
        Check.step("look offsets up, by place and by time, and seek there");
        List<TopicPartition> all = EVERY.stream().map(p -> new TopicPartition(topic, p)).toList();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(null, Map.of())) {
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(all);
            for (TopicPartition tp : all) {
                Check.expect("end offset of " + tp, ledger.nextOffset.get(tp.partition()), ends.get(tp));
                Check.expect("beginning offset of " + tp, 0L, starts.get(tp));
            }
            for (int n : List.of(0, 123, Check.TOTAL - 1)) {
                Map<TopicPartition, Long> asked = all.stream().collect(Collectors.toMap(tp -> tp, tp -> Check.time(n)));
                Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(asked);
                for (TopicPartition tp : all) {
                    Long got = found.get(tp) == null ? null : Long.valueOf(found.get(tp).offset());
                    Check.expect("offset of time " + n + " in " + tp, ledger.firstAtOrAfter(tp.partition(), n), got);
                }
            }
            Check.Place at = ledger.seen.get(321);
            TopicPartition tp = new TopicPartition(topic, at.partition());
            consumer.assign(List.of(tp));
            consumer.seek(tp, at.offset());
            List<byte[]> values = new ArrayList<>();
            Check.until("a record after a seek", () -> {
                consumer.poll(Duration.ofMillis(500)).forEach(r -> values.add(r.value()));
                return !values.isEmpty();
            });
            Check.expect("value after a seek", Check.value(321), values.get(0));
        }
        for (TopicPartition tp : all) {
            var youngest = get(admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp));
            int last = ledger.seen.entrySet().stream()
                    .filter(e -> e.getValue().partition() == tp.partition()).mapToInt(Map.Entry::getKey).max().getAsInt();
            Check.expect("offset of the youngest record of " + tp, ledger.seen.get(last).offset(), youngest.offset());
            Check.expect("time of the youngest record of " + tp, Check.time(last), youngest.timestamp());
        }
    }

    private void inspectGroup(String group) throws Exception {
        Check.step("list and describe the group");
        Map<String, GroupListing> listed = get(admin.listGroups().all()).stream()
                .collect(Collectors.toMap(GroupListing::groupId, g -> g));
        Check.expectTrue("group list must name the group", listed.containsKey(group), listed.keySet());
        Check.expect("protocol in the group list", "consumer", listed.get(group).protocol());
        Check.expect("state in the group list", GroupState.EMPTY, listed.get(group).groupState().orElse(null));
        ConsumerGroupDescription described = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        Check.expect("state of a group without members", GroupState.EMPTY, described.groupState());
        KafkaFuture<Map<TopicPartition, OffsetAndMetadata>> offsets =
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata();
        Check.expect("offsets of the group, with their text", committed(), get(offsets));
    }

    /** Two members on one thread: each poll is short, so that the other's turn comes within a rebalance. */
    private void share(String group, String assignor) throws Exception {
        Check.step("two members of one group, with " + assignor.substring(assignor.lastIndexOf('.') + 1));
        Map<String, Object> config = Map.of("partition.assignment.strategy", assignor, "metadata.max.age.ms", 500);
        KafkaConsumer<byte[], byte[]> first = consumer(group, config);
        KafkaConsumer<byte[], byte[]> second = consumer(group, config);
        Set<Integer> seen = new HashSet<>();
        first.subscribe(List.of(topic));
        Check.until("all partitions with the first member", () -> {
            first.poll(Duration.ofMillis(50));
            return numbers(first.assignment()).equals(EVERY);
        });
        second.subscribe(List.of(topic));
        Check.until("partitions divided between two members", () -> {
            first.poll(Duration.ofMillis(50));
            read(second, seen);
            Set<Integer> both = new HashSet<>(numbers(first.assignment()));
            boolean apart = !first.assignment().isEmpty() && !second.assignment().isEmpty()
                    && both.stream().noneMatch(numbers(second.assignment())::contains);
            both.addAll(numbers(second.assignment()));
            return apart && both.equals(EVERY);
        });
        first.close();
        Check.until("all partitions with the member that stayed", () -> {
            read(second, seen);
            return numbers(second.assignment()).equals(EVERY);
        });
        // Nothing was committed, so this member has read every record itself: what the other had comes again.
        Check.until("every record with the member that stayed", () -> {
            read(second, seen);
            return seen.size() == Check.TOTAL;
        });
        second.close();
    }

    private static void read(KafkaConsumer<byte[], byte[]> consumer, Set<Integer> seen) {
        consumer.poll(Duration.ofMillis(50)).forEach(r -> seen.add(Check.number(r)));
    }

    private void grow() throws Exception {
        Check.step("add a partition");
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(Check.PARTITIONS + 1))).all());
        Check.settle();
        TopicDescription described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        Check.expect("partitions after one was added", Check.PARTITIONS + 1, described.partitions().size());
    }

    private void remove(List<String> groups) throws Exception {
        Check.step("delete the groups and the topic");
        get(admin.deleteConsumerGroups(groups).all());
        Set<String> left = get(admin.listGroups().all()).stream().map(GroupListing::groupId).collect(Collectors.toSet());
        for (String group : groups) {
            Check.expect("deleted group still listed: " + group, false, left.contains(group));
        }
        get(admin.deleteTopics(List.of(topic)).all());
        Check.settle();
        Check.expect("deleted topic still listed", false, get(admin.listTopics().names()).contains(topic));
        admin.close();
    }
}
