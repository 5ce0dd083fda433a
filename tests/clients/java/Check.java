import java.nio.charset.StandardCharsets;
import java.time.LocalTime;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/**
 * What the Java program shares with those of the other languages: the records it writes, and the checks on what comes
 * back. A record's place in the sequence travels in its header {@code n}.
 */
final class Check {
    static final int PARTITIONS = 3;
    static final int TOTAL = 500;
    static final int HALF = TOTAL / 2;
    static final int WAIT_SECONDS = 30;
    private static final int USERS = 37;
    private static final int LARGE = 7;
    /** The first record's timestamp in milliseconds; record n follows n milliseconds later. */
    private static final long START = (System.currentTimeMillis() / 1000 - 3600) * 1000;

    private Check() {}

    /** The broker's answer is not what Kafka promises. */
    static final class Mismatch extends RuntimeException {
        private static final long serialVersionUID = 1;

        Mismatch(String message) {
            super(message);
        }
    }

    /** Stops the program if {@code got} is not {@code want}. */
    static void expect(String what, Object want, Object got) {
        if (!Objects.deepEquals(want, got)) {
            throw new Mismatch(what + ": expected " + clip(want) + ", got " + clip(got));
        }
    }

    /** Stops the program if {@code fact} does not hold of {@code got}. */
    static void expectTrue(String what, boolean fact, Object got) {
        if (!fact) {
            throw new Mismatch(what + ": got " + clip(got));
        }
    }

    private static String clip(Object value) {
        String text = value instanceof byte[] bytes ? "\"" + new String(bytes, StandardCharsets.UTF_8) + "\"" : String.valueOf(value);
        return text.length() <= 300 ? text : text.substring(0, 300) + "... (" + text.length() + " characters)";
    }

    /** Says on the program's log what it does next. */
    static void step(String text) {
        System.out.println(LocalTime.now().truncatedTo(ChronoUnit.SECONDS) + " " + text);
    }

    /**
     * Time for a broker that answers an admin request before everybody sees what it did, as Apache Kafka does. The
     * runner gives none to streamd, whose answer means done.
     */
    static void settle() throws InterruptedException {
        Thread.sleep(Long.parseLong(System.getenv().getOrDefault("CLIENTS_SETTLE_MS", "0")));
    }

    /** A name for topics and groups that no earlier run has used. */
    static String freshName(String client) {
        return "clients-" + client + "-" + ProcessHandle.current().pid() + "-" + System.currentTimeMillis() / 1000 % 1_000_000;
    }

    /** Record {@code n}'s key. Some have none. */
    static byte[] key(int n) {
        return n % 50 == 10 ? null : utf8("user-" + n * 7 % USERS);
    }

    /** Record {@code n}'s value. One is large, some are null, some are empty. */
    static byte[] value(int n) {
        if (n % 50 == 20) {
            return null;
        }
        if (n % 50 == 30) {
            return new byte[0];
        }
        if (n == LARGE) {
            byte[] value = Arrays.copyOf(utf8("large "), 300_006);
            for (int i = 0; i < 300_000; i++) {
                value[6 + i] = (byte) (i * 31 % 251);
            }
            return value;
        }
        return utf8("record " + n + " Zürich " + "0123456789".repeat(n % 40));
    }

    /** Record {@code n}'s headers: its number, one name twice, and an empty value. */
    static List<Header> headers(int n) {
        return List.of(
                new RecordHeader("n", utf8(Integer.toString(n))),
                new RecordHeader("twice", utf8("first")),
                new RecordHeader("twice", utf8("second")),
                new RecordHeader("empty", new byte[0]));
    }

    /** Record {@code n}'s timestamp in milliseconds. */
    static long time(int n) {
        return START + n;
    }

    /** A record's place in the sequence. */
    static int number(ConsumerRecord<byte[], byte[]> record) {
        Header header = record.headers().lastHeader("n");
        expectTrue("header n must be there", header != null, record.headers());
        return Integer.parseInt(new String(header.value(), StandardCharsets.UTF_8));
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Where a record lies. */
    record Place(int partition, long offset) {}

    /** Checks each record as it is consumed, and keeps what has been seen. */
    static final class Ledger {
        final Map<Integer, Place> seen = new TreeMap<>();
        final Map<Integer, Long> nextOffset = new TreeMap<>();
        private final Map<Integer, Integer> last = new HashMap<>();
        private final Map<String, Integer> partitionOfKey = new HashMap<>();

        /** One record, as the client gave it to its user. */
        void take(ConsumerRecord<byte[], byte[]> record) {
            int n = number(record);
            int partition = record.partition();
            String at = "record at " + partition + ":" + record.offset() + " (n=" + n + ")";
            expect(at + ", key", key(n), record.key());
            expect(at + ", value", value(n), record.value());
            expect(at + ", headers", headers(n), List.of(record.headers().toArray()));
            expect(at + ", timestamp", time(n), record.timestamp());
            expect(at + ", offset", nextOffset.getOrDefault(partition, 0L), record.offset());
            expectTrue(at + ", must come after n=" + last.get(partition), n > last.getOrDefault(partition, -1), n);
            expect(at + ", earlier place of the same record", null, seen.get(n));
            if (record.key() != null) {
                String key = new String(record.key(), StandardCharsets.UTF_8);
                expect(at + ", partition of key " + key, partitionOfKey.getOrDefault(key, partition), partition);
                partitionOfKey.put(key, partition);
            }
            seen.put(n, new Place(partition, record.offset()));
            nextOffset.put(partition, record.offset() + 1);
            last.put(partition, n);
        }

        /** Every record must have been seen, exactly once, in all partitions, each where the producer was told. */
        void complete(Map<Integer, Place> sent) {
            expect("records consumed", TOTAL, seen.size());
            for (int n = 0; n < TOTAL; n++) {
                expectTrue("record " + n + " must have been consumed", seen.containsKey(n), null);
                expect("place of record " + n + ", as acknowledged and as consumed", sent.get(n), seen.get(n));
            }
            expect("partitions with records", List.of(0, 1, 2), List.copyOf(nextOffset.keySet()));
            expect("sum of the next offsets", (long) TOTAL, nextOffset.values().stream().mapToLong(o -> o).sum());
        }

        /** The offset that a lookup by the time of record {@code n} must find, null if there is none. */
        Long firstAtOrAfter(int partition, int n) {
            return seen.entrySet().stream()
                    .filter(e -> e.getKey() >= n && e.getValue().partition() == partition)
                    .map(e -> e.getValue().offset())
                    .min(Long::compare)
                    .orElse(null);
        }
    }

    /** Asks {@code attempt} until it answers true; a mismatch when that takes too long. */
    static void until(String what, Callable<Boolean> attempt) throws Exception {
        long end = System.nanoTime() + WAIT_SECONDS * 1_000_000_000L;
        while (!attempt.call()) {
            if (System.nanoTime() > end) {
                throw new Mismatch(what + ": not so after " + WAIT_SECONDS + " s");
            }
        }
    }
}
