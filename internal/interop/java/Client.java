import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What Kafka's own clients do to a broker, one job after the other:
 *
 *   fill:TOPIC:N   create the topics, among them an empty TOPIC of N partitions, and write to all others
 *   grow:TOPIC     append to every partition of TOPIC and to the compacted topic
 *   ids:PATH       the topics' ids, a line each
 *   dump:PATH      everything that a client can see, a line each; oracle.go makes the same lines from a directory
 *   load           write until killed; one line on stdout for each acknowledged record
 */
public class Client {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    /** Small segment files without writing a million bytes into each. */
    static final String SEGMENT = "internal.segment.bytes";
    static final long PATIENCE = 60_000;

    final String broker;
    final Admin admin;
    final Map<String, KafkaConsumer<byte[], byte[]>> consumers = new HashMap<>();
    final Random random = new Random(1);
    /** Recent, since producers are forgotten a day after their last record. */
    final long begin = System.currentTimeMillis() - 3_600_000;

    Client(String broker) {
        this.broker = broker;
        this.admin = Admin.create(Map.of("bootstrap.servers", broker));
    }

    public static void main(String[] args) throws Exception {
        Client c = new Client(args[0]);
        for (int i = 1; i < args.length; i++) {
            String[] job = args[i].split(":", 3);
            switch (job[0]) {
                case "fill" -> c.fill(job[1], Integer.parseInt(job[2]));
                case "grow" -> c.grow(job[1]);
                case "ids" -> c.ids(Path.of(job[1]));
                case "dump" -> c.dump(Path.of(job[1]));
                case "load" -> c.load();
                default -> throw new IllegalArgumentException(args[i]);
            }
            System.out.println("done " + job[0]);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0); // a producer that is closed would abort the transaction that is to stay open
    }

    // What is written.

    void fill(String reserved, int partitions) throws Exception {
        admin.createTopics(List.of(
            topic(reserved, partitions, Map.of(SEGMENT, "20000", "index.interval.bytes", "512", "message.timestamp.after.max.ms", "9223372036854775807")),
            topic("codecs", CODECS.length, Map.of(SEGMENT, "20000", "index.interval.bytes", "512")),
            topic("recompressed", 1, Map.of(SEGMENT, "20000", "compression.type", "lz4")),
            topic("stamped", 1, Map.of(SEGMENT, "9000", "index.interval.bytes", "256", "message.timestamp.type", "LogAppendTime")),
            topic("odd", 1, Map.of("message.timestamp.after.max.ms", "9223372036854775807")),
            topic("transactions", 2, Map.of(SEGMENT, "9000", "index.interval.bytes", "256")),
            topic("deleted", 1, Map.of(SEGMENT, "9000")),
            topic("load", 2, Map.of(SEGMENT, "200000")),
            topic("empty", 1, Map.of()),
            topic("compacted", 3, Map.of(SEGMENT, "9000", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01",
                "delete.retention.ms", "1", "index.interval.bytes", "256"))
        )).all().get();
        for (int i = 0; i < CODECS.length; i++) {
            plain("codecs", i, CODECS[i], 1200);
        }
        plain("recompressed", 0, "gzip", 600);
        plain("stamped", 0, "zstd", 600);
        plain("deleted", 0, "snappy", 900);
        odd();
        compacted(0);
        transactions();
        admin.deleteRecords(Map.of(new TopicPartition("deleted", 0), RecordsToDelete.beforeOffset(437))).all().get();
        awaitCompaction();
        compacted(1);
        awaitCompaction();
        awaitMarkers();
    }

    static NewTopic topic(String name, int partitions, Map<String, String> config) {
        return new NewTopic(name, partitions, (short) 1).configs(config);
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, String> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", broker, "linger.ms", "5", "batch.size", "3000"));
        config.putAll(more);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    byte[] noise(int n) {
        byte[] b = new byte[n];
        random.nextBytes(b);
        return b;
    }

    /** Some keys come again, values differ in length and in how well they compress, times go back and forth. */
    ProducerRecord<byte[], byte[]> record(String topic, int partition, int i) {
        long time = begin + i * 10L - (i % 7 == 0 ? random.nextInt(3000) : 0);
        byte[] value = i % 5 == 0 ? noise(i % 90) : bytes(("value " + i + " ").repeat(1 + i % 11));
        List<Header> headers = i % 3 == 0 ? List.of(new RecordHeader("trace", noise(8)), new RecordHeader("n", bytes("" + i))) : List.of();
        return new ProducerRecord<>(topic, partition, time, bytes("key-" + i % 97), value, headers);
    }

    void plain(String topic, int partition, String codec, int n) throws Exception {
        try (var p = producer(Map.of("compression.type", codec))) {
            for (int i = 0; i < n; i++) {
                p.send(record(topic, partition, i));
                if (i % 400 == 399) {
                    p.flush();
                }
            }
        }
    }

    void odd() throws Exception {
        byte[] none = {};
        var twice = List.<Header>of(new RecordHeader("h", bytes("1")), new RecordHeader("h", null), new RecordHeader("", none), new RecordHeader("h", bytes("2")));
        try (var p = producer(Map.of("max.request.size", "3000000", "compression.type", "none"))) {
            p.send(new ProducerRecord<>("odd", 0, 1L, null, null, List.of()));
            p.send(new ProducerRecord<>("odd", 0, 0L, none, none));
            p.send(new ProducerRecord<>("odd", 0, 32_503_680_000_000L, null, bytes("a thousand years ahead")));
            p.send(new ProducerRecord<>("odd", 0, 5L, bytes("\u0000\t\n\u00e9\u4e16"), null, twice));
            p.send(new ProducerRecord<>("odd", 0, null, noise(30_000), bytes("long key")));
            p.send(new ProducerRecord<>("odd", 0, null, bytes("long"), noise(900_000)));
            p.send(new ProducerRecord<>("odd", 0, 7L, bytes("back in time"), noise(20)));
            p.flush();
            p.send(new ProducerRecord<>("odd", 0, null, bytes("now"), noise(20)));
        }
        // A plain producer: neither id nor sequence.
        try (var p = producer(Map.of("enable.idempotence", "false", "acks", "1", "compression.type", "zstd"))) {
            for (int i = 0; i < 50; i++) {
                p.send(record("odd", 0, i));
            }
        }
    }

    /** Partition 0 has updates, 1 updates by transactions, some of them aborted, 2 mostly tombstones. */
    void compacted(int round) throws Exception {
        for (int part = 0; part < 3; part++) {
            boolean txn = part == 1;
            var config = new HashMap<>(Map.of("compression.type", CODECS[(part + 2 + round) % CODECS.length]));
            if (txn) {
                config.put("transactional.id", "compacting");
            }
            try (var p = producer(config)) {
                if (txn) {
                    p.initTransactions();
                }
                for (int i = 0; i < 900; i++) {
                    if (txn && i % 30 == 0) {
                        p.beginTransaction();
                    }
                    var r = record("compacted", part, round * 900 + i);
                    p.send(part == 2 && i % 4 != 0 ? new ProducerRecord<>("compacted", 2, r.timestamp(), r.key(), null, r.headers()) : r);
                    if (txn && i % 30 == 29) {
                        p.flush();
                        if (i % 120 == 29) {
                            p.abortTransaction();
                        } else {
                            p.commitTransaction();
                        }
                    }
                }
            }
        }
    }

    /** Two transactional producers and a plain one take turns; in the end one transaction stays open and others go on behind it. */
    void transactions() throws Exception {
        var a = producer(Map.of("transactional.id", "a", "compression.type", "lz4"));
        var b = producer(Map.of("transactional.id", "b", "compression.type", "none"));
        var open = producer(Map.of("transactional.id", "open", "transaction.timeout.ms", "900000"));
        var plain = producer(Map.of());
        a.initTransactions();
        b.initTransactions();
        open.initTransactions();
        for (int round = 0; round < 12; round++) {
            int size = round == 5 ? 300 : 8; // one spans segments
            a.beginTransaction();
            b.beginTransaction();
            if (round == 10) {
                open.beginTransaction();
                send(open, 20, 0);
            }
            send(a, size, round);
            send(b, 6, round + 1);
            send(plain, 5, round);
            send(a, 4, round + 1);
            if (round % 3 == 1) {
                a.abortTransaction();
            } else {
                a.commitTransaction();
            }
            if (round % 4 < 2) {
                b.commitTransaction();
            } else {
                b.abortTransaction();
            }
        }
        plain.close();
    }

    void send(KafkaProducer<byte[], byte[]> p, int n, int round) {
        for (int i = 0; i < n; i++) {
            p.send(record("transactions", round % 2, round * 1000 + i));
        }
        p.flush();
    }

    /** Another generation of records behind what the partitions of the topic hold. */
    void grow(String topic) throws Exception {
        int n = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        for (int part = 0; part < n; part++) {
            plain(topic, part, CODECS[(part + 3) % CODECS.length], 300);
            try (var p = producer(Map.of("transactional.id", "grow-" + part, "compression.type", "gzip"))) {
                p.initTransactions();
                for (int i = 0; i < 6; i++) {
                    p.beginTransaction();
                    for (int k = 0; k < 10; k++) {
                        p.send(record(topic, part, i * 10 + k));
                    }
                    p.flush();
                    if (i % 2 == 0) {
                        p.commitTransaction();
                    } else {
                        p.abortTransaction();
                    }
                }
            }
        }
        compacted(2);
        awaitCompaction();
        awaitMarkers();
    }

    /** There are 97 keys: once the cleaner has been there, the first third of a log holds no more records than that. And it must have come to rest. */
    void awaitCompaction() throws Exception {
        long until = System.currentTimeMillis() + PATIENCE;
        List<List<Long>> before = List.of();
        while (true) {
            List<List<Long>> now = new ArrayList<>();
            boolean everywhere = true;
            for (int part = 0; part < 3; part++) {
                TopicPartition tp = new TopicPartition("compacted", part);
                List<Long> left = read(tp, "read_uncommitted").stream().map(ConsumerRecord::offset).toList();
                long third = offset(tp, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED) / 3;
                everywhere &= left.stream().filter(o -> o < third).count() <= 97;
                now.add(left);
            }
            if (everywhere && now.equals(before)) {
                return;
            }
            before = now;
            if (System.currentTimeMillis() > until) {
                throw new IllegalStateException("not compacted in time");
            }
            Thread.sleep(700); // three times the cleaner's pause
        }
    }

    /** A commit returns before its markers are written. */
    void awaitMarkers() throws Exception {
        long until = System.currentTimeMillis() + PATIENCE;
        for (var txn : admin.listTransactions().all().get()) {
            String id = txn.transactionalId();
            if (id.equals("open")) {
                continue;
            }
            while (true) {
                TransactionState state = admin.describeTransactions(List.of(id)).all().get().get(id).state();
                if (state == TransactionState.COMPLETE_COMMIT || state == TransactionState.COMPLETE_ABORT || state == TransactionState.EMPTY) {
                    break;
                }
                if (System.currentTimeMillis() > until) {
                    throw new IllegalStateException("transaction " + id + " stays " + state);
                }
                Thread.sleep(20);
            }
        }
    }

    /** Writes until the process is killed. */
    void load() throws Exception {
        var p = producer(Map.of("compression.type", "lz4"));
        for (int i = 0; ; i++) {
            String key = "load-" + i;
            p.send(new ProducerRecord<>("load", i % 2, bytes(key), bytes(key.repeat(1 + i % 20))), (at, err) -> {
                if (err == null) {
                    System.out.println("acked " + at.partition() + " " + at.offset() + " " + key);
                }
            });
            if (i % 100 == 99) {
                Thread.sleep(5);
            }
        }
    }

    // What is seen.

    void ids(Path path) throws Exception {
        try (PrintWriter out = new PrintWriter(path.toFile(), StandardCharsets.UTF_8)) {
            for (TopicDescription t : describe()) {
                out.println(t.name() + " " + t.topicId());
            }
        }
    }

    List<TopicDescription> describe() throws Exception {
        var names = new TreeSet<>(admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get());
        var found = admin.describeTopics(names).allTopicNames().get();
        return names.stream().map(found::get).toList();
    }

    void dump(Path path) throws Exception {
        Path tmp = Path.of(path + ".tmp");
        try (PrintWriter out = new PrintWriter(tmp.toFile(), StandardCharsets.UTF_8)) {
            for (TopicDescription t : describe()) {
                for (var info : t.partitions()) {
                    dump(out, new TopicPartition(t.name(), info.partition()));
                }
            }
        }
        Files.move(tmp, path);
    }

    void dump(PrintWriter out, TopicPartition tp) throws Exception {
        out.printf("offsets %s start=%d stable=%d high=%d%n", tp, offset(tp, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED),
            offset(tp, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED),
            offset(tp, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED));
        var all = read(tp, "read_uncommitted");
        var committed = read(tp, "read_committed");
        all.forEach(r -> out.println("record " + line(tp, r)));
        committed.forEach(r -> out.println("committed " + line(tp, r)));
        var answers = new TreeMap<Long, KafkaFuture<ListOffsetsResultInfo>>();
        for (int i = 0; i < 8 && !all.isEmpty(); i++) {
            long time = all.get((int) ((long) i * (all.size() - 1) / 7)).timestamp();
            for (long asked = time; asked <= time + 1; asked++) {
                answers.computeIfAbsent(asked, t -> ask(tp, OffsetSpec.forTimestamp(t), IsolationLevel.READ_UNCOMMITTED));
            }
        }
        for (var e : answers.entrySet()) {
            ListOffsetsResultInfo at = e.getValue().get();
            out.printf("time %s %d found=%d at=%d%n", tp, e.getKey(), at.offset(), at.timestamp());
        }
        admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().stream()
            .map(p -> producer(tp, p)).sorted().forEach(out::println);
    }

    static String producer(TopicPartition tp, ProducerState p) {
        return String.format("producer %s id=%d epoch=%d sequence=%d time=%d coordinator=%d open=%d", tp, p.producerId(), p.producerEpoch(),
            p.lastSequence(), p.lastTimestamp(), p.coordinatorEpoch().orElse(-1), p.currentTransactionStartOffset().orElse(-1));
    }

    long offset(TopicPartition tp, OffsetSpec spec, IsolationLevel level) throws ExecutionException, InterruptedException {
        return ask(tp, spec, level).get().offset();
    }

    KafkaFuture<ListOffsetsResultInfo> ask(TopicPartition tp, OffsetSpec spec, IsolationLevel level) {
        return admin.listOffsets(Map.of(tp, spec), new ListOffsetsOptions(level)).partitionResult(tp);
    }

    List<ConsumerRecord<byte[], byte[]>> read(TopicPartition tp, String isolation) {
        var list = new ArrayList<ConsumerRecord<byte[], byte[]>>();
        long until = System.currentTimeMillis() + PATIENCE;
        var c = consumers.computeIfAbsent(isolation, this::consumer);
        c.assign(List.of(tp));
        c.seekToBeginning(List.of(tp));
        long end = c.endOffsets(List.of(tp)).get(tp);
        while (c.position(tp) < end) {
            c.poll(Duration.ofMillis(200)).forEach(list::add);
            if (System.currentTimeMillis() > until) {
                throw new IllegalStateException(tp + " was not read in time");
            }
        }
        return list;
    }

    KafkaConsumer<byte[], byte[]> consumer(String isolation) {
        return new KafkaConsumer<>(Map.of("bootstrap.servers", broker, "isolation.level", isolation, "auto.offset.reset", "none",
            "fetch.max.wait.ms", "10"), // a fetch that waits at the end of one partition holds up the next one's
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static String line(TopicPartition tp, ConsumerRecord<byte[], byte[]> r) {
        StringBuilder s = new StringBuilder();
        s.append(tp).append(' ').append(r.offset()).append(" time=").append(r.timestamp()).append(" key=").append(hex(r.key())).append(" value=").append(hex(r.value()));
        for (Header h : r.headers()) {
            s.append(" header=").append(hex(bytes(h.key()))).append(':').append(hex(h.value()));
        }
        return s.toString();
    }

    /** Null and empty differ. */
    static String hex(byte[] b) {
        return b == null ? "null" : "x" + java.util.HexFormat.of().formatHex(b);
    }
}
