package topic

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
)

func TestEpochsOfALane(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	p := clientProducer(t, e)
	defer p.Close()
	_, err := p.SendSync(t.Context(), "t", numbered(0))
	require.NoError(t, err)
	l := p.lanes[0]
	first := l.producerID
	assert.Equal(t, p.identity, first)
	assert.EqualValues(t, 1, l.sequence)
	l.beginEpoch()
	assert.EqualValues(t, 1, l.epoch)
	assert.Zero(t, l.sequence)
	l.epoch = math.MaxInt16
	l.beginEpoch()
	assert.Equal(t, record.NoProducer, l.producerID, "the epochs of an id are used up")
	_, err = p.SendSync(t.Context(), "t", numbered(1))
	require.NoError(t, err)
	assert.NotEqual(t, first, l.producerID)
	assert.Zero(t, l.epoch)
	assert.Equal(t, []string{"0", "1"}, values(t, top)[0])
}

func TestErrorTexts(t *testing.T) {
	late := &DeliveryError{Topic: "t", Partition: 3, Tries: 2, After: 5, Err: ErrNoSpace}
	assert.Equal(t, "topic: t/3: delivery timed out after 5ns and 2 tries: log: no space", late.Error())
	assert.ErrorIs(t, late, ErrNoSpace)
	assert.ErrorIs(t, &DeliveryError{}, ErrDeliveryTimeout)
	full := &BufferFullError{Want: 5, Buffer: 10, Waited: 3}
	assert.Equal(t, "topic: producer buffer full: no 5 of 10 bytes within 3ns", full.Error())
	for level, want := range map[AckLevel]string{None: "0", Leader: "1", All: "all", 9: "acks(9)"} {
		assert.Equal(t, want, level.String())
	}
}

func TestProducerOptionsReachTheConfiguration(t *testing.T) {
	c, err := newProducerConfig([]ProducerOption{
		RetryBackoff(2, 3), Adaptive(false), Compress(compress.Zstd), CompressLevel(5), Acks(Leader), MaxRequestSize(77),
	})
	require.NoError(t, err)
	assert.EqualValues(t, 2, c.backoff)
	assert.EqualValues(t, 3, c.backoffMax)
	assert.False(t, c.adaptive)
	assert.Equal(t, 5, c.level)
	assert.Equal(t, 77, c.maxRequestSize)
	_, err = newProducerConfig([]ProducerOption{Compress(compress.Gzip), CompressLevel(99)})
	assert.ErrorIs(t, err, ErrInvalid)
}

// A producer that chose no codec takes the topic's.
func TestProducerTakesTheTopicsCodec(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", Partitions(3), Compression(compress.LZ4))
	p := clientProducer(t, e, Adaptive(false), BatchSize(200))
	for i := range 100 {
		require.NoError(t, p.Send(t.Context(), "t", numbered(i), nil))
	}
	require.NoError(t, p.Shutdown(t.Context()))
	n := 0
	for part := range int32(3) {
		for b, err := range top.Batches(t.Context(), part, UntilEnd()) {
			require.NoError(t, err)
			assert.Equal(t, compress.LZ4, b.Codec())
			n += b.Count()
		}
	}
	assert.Equal(t, 100, n)
	c := clientConsumer(t, e, CheckCRCs(false), MaxWait(0))
	require.NoError(t, c.AssignTopics("t"))
	assert.Len(t, poll1(t, c), 100)
}
