import java.io.File;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.metadata.properties.MetaProperties;
import org.apache.kafka.metadata.properties.PropertiesUtils;
import org.apache.kafka.storage.internals.checkpoint.CleanShutdownFileHandler;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.PartitionMetadataFile;
import org.apache.kafka.storage.internals.log.AbortedTxn;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogFileUtils;
import org.apache.kafka.storage.internals.log.ProducerStateEntry;
import org.apache.kafka.storage.internals.log.ProducerStateManager;
import org.apache.kafka.storage.internals.log.TransactionIndex;

/** Prints what Kafka's own classes find in the files of a data directory, one line per fact; files.go knows what they should find. */
public class Files {
    static final LogDirFailureChannel FAILURES = new LogDirFailureChannel(1);

    public static void main(String[] args) throws Exception {
        File root = new File(args[0]);
        Properties meta = PropertiesUtils.readPropertiesFile(new File(root, "meta.properties").getPath());
        MetaProperties m = new MetaProperties.Builder(meta).build();
        System.out.printf("meta version=%s cluster=%s node=%d directory=%s%n", m.version(), m.clusterId().get(), m.nodeId().getAsInt(), m.directoryId().get());
        CleanShutdownFileHandler clean = new CleanShutdownFileHandler(root.getPath());
        System.out.printf("clean exists=%b epoch=%s%n", clean.exists(), clean.read());
        for (String name : new String[] {"recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"}) {
            new OffsetCheckpointFile(new File(root, name), FAILURES).read().entrySet().stream()
                .sorted(Comparator.comparing((Map.Entry<?, Long> e) -> e.getKey().toString()))
                .forEach(e -> System.out.printf("checkpoint %s %s=%d%n", name, e.getKey(), e.getValue()));
        }
        File[] dirs = root.listFiles(File::isDirectory);
        Arrays.sort(dirs);
        for (File dir : dirs) {
            partition(dir);
        }
    }

    static void partition(File dir) throws Exception {
        var id = new PartitionMetadataFile(PartitionMetadataFile.newFile(dir), FAILURES).read();
        System.out.printf("metadata %s version=%d id=%s%n", dir.getName(), id.version(), id.topicId());
        for (var e : new LeaderEpochCheckpointFile(LeaderEpochCheckpointFile.newFile(dir), FAILURES).read()) {
            System.out.printf("epoch %s %d=%d%n", dir.getName(), e.epoch, e.startOffset);
        }
        File[] files = dir.listFiles(File::isFile);
        Arrays.sort(files);
        for (File file : files) {
            String name = dir.getName() + "/" + file.getName();
            if (file.getName().endsWith(".snapshot")) {
                ProducerStateManager.readSnapshot(file).stream().sorted(Comparator.comparingLong(ProducerStateEntry::producerId)).forEach(p -> System.out.printf(
                    "snapshot %s id=%d epoch=%d sequence=%d last=%d time=%d coordinator=%d open=%d%n", name, p.producerId(), p.producerEpoch(),
                    p.lastSeq(), p.lastDataOffset(), p.lastTimestamp(), p.coordinatorEpoch(), p.currentTxnFirstOffset().orElse(-1)));
            }
            if (file.getName().endsWith(".txnindex")) {
                TransactionIndex index = new TransactionIndex(LogFileUtils.offsetFromFile(file), file);
                index.sanityCheck();
                for (AbortedTxn t : index.allAbortedTxns()) {
                    System.out.printf("aborted %s id=%d first=%d last=%d stable=%d%n", name, t.producerId(), t.firstOffset(), t.lastOffset(), t.lastStableOffset());
                }
            }
        }
    }
}
