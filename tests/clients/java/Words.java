import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The words that the transactional programs write, and which of them a reader may see. */
final class Words {
    /** Records of a transaction, the same number for each partition. */
    static final int EACH = 30;
    /** The transactions in their order. */
    static final List<String> ROUNDS = List.of("first", "aborted", "second");

    private Words() {}

    /** What a transaction of this kind writes; word n goes to partition n modulo the number of partitions. */
    static List<String> of(String kind) {
        List<String> words = new ArrayList<>();
        for (int n = 0; n < EACH; n++) {
            words.add(kind + "-" + n);
        }
        return words;
    }

    private static Map<Integer, List<String>> byPartition(List<String> kinds) {
        Map<Integer, List<String>> all = new TreeMap<>();
        for (int p = 0; p < Check.PARTITIONS; p++) {
            List<String> words = new ArrayList<>();
            for (String kind : kinds) {
                for (int n = p; n < EACH; n += Check.PARTITIONS) {
                    words.add(of(kind).get(n));
                }
            }
            all.put(p, words);
        }
        return all;
    }

    /** What a reader of committed records sees after the rounds and these transactions. */
    static Map<Integer, List<String>> committed(String... more) {
        List<String> kinds = new ArrayList<>(ROUNDS);
        kinds.remove("aborted");
        kinds.addAll(List.of(more));
        return byPartition(kinds);
    }

    /** What is there after the rounds, whatever became of it. */
    static Map<Integer, List<String>> everything() {
        return byPartition(ROUNDS);
    }
}
