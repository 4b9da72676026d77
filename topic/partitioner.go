package topic

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// AnyPartition is what a [Partitioner] returns for a record that may go anywhere. The producer then fills
// one partition's batch before it moves on to the next, as Kafka's built-in partitioner does: whole batches
// are cheaper than many small ones.
const AnyPartition int32 = -1

// A Partitioner chooses the partition of a record. It is called once a record, by the goroutine that sends,
// so it must be quick and safe for concurrent use. The record's bytes are the sender's: they must not be
// kept or changed. A panic in it, and a result that is neither AnyPartition nor in [0, partitions), fail the
// Send with an error that matches ErrInvalid.
type Partitioner interface {
	// Partition chooses for rec, whose Topic is set; partitions is how many the topic has, at least 1.
	Partition(rec Record, partitions int) int32
}

// PartitionerFunc makes a function a [Partitioner].
type PartitionerFunc func(rec Record, partitions int) int32

// Partition calls f.
func (f PartitionerFunc) Partition(rec Record, partitions int) int32 { return f(rec, partitions) }

// PartitionForKey is the partition of a key, as Apache Kafka's clients choose it: murmur2 of the key's
// bytes without the sign bit, modulo the number of partitions. An empty key counts as a key.
func PartitionForKey(key []byte, partitions int) int32 {
	return int32(murmur2(key) & 0x7fffffff % uint32(partitions))
}

// ByKey is the default partitioner: records with a key (an empty one too) go by [PartitionForKey], records
// without one go to [AnyPartition].
func ByKey() Partitioner { return byKey{} }

type byKey struct{}

func (byKey) Partition(rec Record, partitions int) int32 {
	if rec.Key == nil {
		return AnyPartition
	}
	return PartitionForKey(rec.Key, partitions)
}

// Uniform ignores keys: every record goes to [AnyPartition].
func Uniform() Partitioner { return uniform{} }

type uniform struct{}

func (uniform) Partition(Record, int) int32 { return AnyPartition }

// Manual takes the partition that the record itself names in its field Partition; AnyPartition leaves it to
// the producer.
func Manual() Partitioner { return manual{} }

type manual struct{}

func (manual) Partition(rec Record, _ int) int32 { return rec.Partition }

// RoundRobin gives each record of a topic to the partition after the last one's, whatever the key. Batches
// become small when there are many partitions; prefer [Uniform] unless strict turns matter.
func RoundRobin() Partitioner { return &roundRobin{} }

type roundRobin struct{ turns sync.Map } // topic name to *atomic.Uint32

func (r *roundRobin) Partition(rec Record, partitions int) int32 {
	turn, ok := r.turns.Load(rec.Topic)
	if !ok {
		turn, _ = r.turns.LoadOrStore(rec.Topic, new(atomic.Uint32))
	}
	n := turn.(*atomic.Uint32).Add(1) - 1
	return int32(n % uint32(partitions))
}

// checkPartition holds a partitioner's answer against the number of partitions.
func checkPartition(topic string, got int32, partitions int) error {
	if got >= 0 && int(got) < partitions {
		return nil
	}
	return fmt.Errorf("%w: partition %d of topic %s, which has %d", ErrInvalid, got, topic, partitions)
}

// sticky is the rule for records that may go anywhere: stay on one partition until a batch's worth of bytes
// went there, leave at a batch boundary if one comes, and at the latest after two batches' worth.
type sticky struct {
	current int32
	bytes   int
	chosen  bool
}

// due tells whether enough went to the current partition to leave it at the next boundary.
func (s *sticky) due(batchSize int) bool { return s.bytes >= batchSize }

// add notes n bytes for the current partition; boundary says that the batch they went into is full. It
// tells whether the next record goes elsewhere.
func (s *sticky) add(n, batchSize int, boundary bool) bool {
	s.bytes += n
	return boundary && s.bytes >= batchSize || s.bytes >= 2*batchSize
}

// move goes to another partition.
func (s *sticky) move(to int32) { *s = sticky{current: to, chosen: true} }

// mostCandidates is among how many partitions the next is drawn. Of more, as many neighbours are taken anywhere.
const mostCandidates = 64

// pickPartition draws one of n partitions, those with shorter queues more often: the weight of a partition
// is the longest queue plus one, less its own. With equal queues the draw is uniform.
func pickPartition(n int, queue func(int) int) int32 {
	if n > mostCandidates {
		first := rand.IntN(n)
		return int32((first + int(pickPartition(mostCandidates, func(i int) int { return queue((first + i) % n) }))) % n)
	}
	longest, total := 0, 0
	for i := range n {
		q := queue(i)
		longest, total = max(longest, q), total+q
	}
	if longest == 0 {
		return int32(rand.IntN(n))
	}
	draw := rand.IntN(n*(longest+1) - total)
	for i := range n {
		// Queues move meanwhile: a longer one than before just weighs nothing.
		if draw -= max(longest+1-queue(i), 0); draw < 0 {
			return int32(i)
		}
	}
	return int32(rand.IntN(n))
}
