import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.PartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/**
 * Asks Kafka's own assignors. The file named on the command line has cases, a line for each partition (P topic number racks), member (M id instance
 * rack generation topics owned userdata) and assignor (A name), and E behind each case; lists are separated by commas. For each A it prints a line:
 * what each member, in order of the ids, is to read, as "id: topic-partition topic-partition; ".
 */
public class Assignors {
    static final List<PartitionInfo> partitions = new ArrayList<>();
    static final Map<String, Subscription> members = new LinkedHashMap<>();

    public static void main(String[] args) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] f = line.split(" ", -1);
            switch (f[0]) {
                case "P" -> partitions.add(partition(f));
                case "M" -> members.put(f[1], member(f));
                case "A" -> print(out, ask(f[1]));
                default -> {
                    partitions.clear();
                    members.clear();
                }
            }
        }
        System.out.print(out);
    }

    static List<String> list(String text) {
        return text.isEmpty() ? List.of() : Arrays.asList(text.split(","));
    }

    static PartitionInfo partition(String[] f) {
        Node[] copies = list(f[3]).stream().map(rack -> new Node(rack.charAt(0), "", 1, rack)).toArray(Node[]::new);
        if (copies.length == 0) {
            copies = new Node[] {new Node(1, "", 1)};
        }
        return new PartitionInfo(f[1], Integer.parseInt(f[2]), copies[0], copies, copies);
    }

    static Subscription member(String[] f) {
        List<TopicPartition> owned = new ArrayList<>();
        for (String text : list(f[6])) {
            int dash = text.lastIndexOf('-');
            owned.add(new TopicPartition(text.substring(0, dash), Integer.parseInt(text.substring(dash + 1))));
        }
        ByteBuffer data = f[7].isEmpty() ? null : ByteBuffer.wrap(HexFormat.of().parseHex(f[7]));
        Subscription s = new Subscription(new ArrayList<>(list(f[5])), data, owned, Integer.parseInt(f[4]), f[3].isEmpty() ? Optional.empty() : Optional.of(f[3]));
        if (!f[2].isEmpty()) {
            s.setGroupInstanceId(Optional.of(f[2]));
        }
        return s;
    }

    static Map<String, List<TopicPartition>> ask(String name) {
        return switch (name) {
            case "range" -> client(new RangeAssignor());
            case "roundrobin" -> client(new RoundRobinAssignor());
            case "sticky" -> client(new StickyAssignor());
            case "cooperative-sticky" -> client(new CooperativeStickyAssignor());
            case "server-range" -> server(new org.apache.kafka.coordinator.group.assignor.RangeAssignor());
            case "uniform" -> server(new UniformAssignor());
            default -> throw new IllegalArgumentException(name);
        };
    }

    static Map<String, List<TopicPartition>> client(ConsumerPartitionAssignor assignor) {
        Cluster cluster = new Cluster("c", List.of(), partitions, Set.of(), Set.of());
        Map<String, List<TopicPartition>> plan = new HashMap<>();
        // An assignor may keep the buffers' positions: each gets its own.
        Map<String, Subscription> given = new LinkedHashMap<>();
        members.forEach((id, s) -> {
            Subscription copy = new Subscription(s.topics(), s.userData() == null ? null : s.userData().duplicate(), s.ownedPartitions(), s.generationId().orElse(-1), s.rackId());
            copy.setGroupInstanceId(s.groupInstanceId());
            given.put(id, copy);
        });
        assignor.assign(cluster, new GroupSubscription(given)).groupAssignment().forEach((id, a) -> plan.put(id, a.partitions()));
        return plan;
    }

    /** Topics get small ids in the order of their names, so that Kafka's hash sets of ids keep that order. */
    static Map<String, List<TopicPartition>> server(PartitionAssignor assignor) {
        TreeMap<String, Integer> counts = new TreeMap<>();
        partitions.forEach(p -> counts.merge(p.topic(), 1, Integer::sum));
        Map<String, Uuid> ids = new HashMap<>();
        Map<Uuid, String> names = new HashMap<>();
        counts.keySet().forEach(name -> {
            Uuid id = new Uuid(0, ids.size() + 1);
            ids.put(name, id);
            names.put(id, name);
        });
        Map<String, MemberSubscriptionAndAssignmentImpl> given = new LinkedHashMap<>();
        Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
        Set<Set<String>> subscriptions = new HashSet<>();
        members.forEach((id, s) -> {
            Map<Uuid, Set<Integer>> owned = new LinkedHashMap<>();
            for (TopicPartition tp : s.ownedPartitions()) {
                owned.computeIfAbsent(ids.get(tp.topic()), k -> new LinkedHashSet<>()).add(tp.partition());
                inverted.computeIfAbsent(ids.get(tp.topic()), k -> new HashMap<>()).put(tp.partition(), id);
            }
            Set<Uuid> topics = new LinkedHashSet<>();
            s.topics().stream().sorted().forEach(name -> topics.add(ids.get(name)));
            subscriptions.add(new HashSet<>(s.topics()));
            given.put(id, new MemberSubscriptionAndAssignmentImpl(s.rackId(), s.groupInstanceId(), topics, new Assignment(owned)));
        });
        SubscriptionType type = subscriptions.size() == 1 ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        SubscribedTopicDescriber describer = new SubscribedTopicDescriber() {
            @Override
            public int numPartitions(Uuid id) {
                return counts.get(names.get(id));
            }

            @Override
            public Set<String> racksForPartition(Uuid id, int number) {
                return Set.of();
            }
        };
        Map<String, List<TopicPartition>> plan = new HashMap<>();
        assignor.assign(new GroupSpecImpl(given, type, inverted), describer).members().forEach((id, a) -> {
            List<TopicPartition> list = new ArrayList<>();
            a.partitions().forEach((topic, numbers) -> numbers.forEach(n -> list.add(new TopicPartition(names.get(topic), n))));
            plan.put(id, list);
        });
        return plan;
    }

    static void print(StringBuilder out, Map<String, List<TopicPartition>> plan) {
        new TreeMap<>(plan).forEach((id, parts) -> {
            List<TopicPartition> sorted = new ArrayList<>(parts);
            sorted.sort(Comparator.comparing(TopicPartition::topic).thenComparing(TopicPartition::partition));
            out.append(id).append(":");
            sorted.forEach(p -> out.append(" ").append(p));
            out.append("; ");
        });
        out.append("\n");
    }
}
