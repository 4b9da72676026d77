package topic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Everything that an operator can ask for at once, while topics change their policy, come and go, contexts end at any
// moment and the engine is closed under it all: errors say what happened, and what is left is sound.
func TestEverythingTogether(t *testing.T) {
	for seed := range uint64(4) {
		disk := vfs.NewMem()
		e := openOn(t, disk, CompactEvery(time.Millisecond), RetentionEvery(time.Millisecond))
		o := &operators{t: t, e: e, disk: disk}
		var wg sync.WaitGroup
		for i, do := range []func(context.Context, *rand.Rand) error{
			o.append, o.append, o.alter, o.compact, o.retain, o.scrub, o.verify, o.backup, o.recreate, o.read,
		} {
			wg.Go(func() { o.repeat(rand.New(rand.NewPCG(seed, uint64(i))), do) })
		}
		time.Sleep(80 * time.Millisecond)
		require.NoError(t, e.Close())
		wg.Wait()
		// Work whose context has ended may go on alone, and ends soon.
		require.Eventually(t, func() bool { return disk.OpenFiles() == 0 }, time.Minute, time.Millisecond)
		again := openOn(t, disk)
		found, err := again.Verify(t.Context(), VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, found.Faults)
		require.NoError(t, again.Close())
	}
}

type operators struct {
	t    *testing.T
	e    *Engine
	disk *vfs.Mem
}

// repeat calls do, with contexts that may end at any moment, until the engine is closed. A backup that goes on alone after its context has ended
// keeps others from its directory.
func (o *operators) repeat(rnd *rand.Rand, do func(context.Context, *rand.Rand) error) {
	for {
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if rnd.IntN(3) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(2000))*time.Microsecond)
		}
		err := do(ctx, rnd)
		cancel()
		if errors.Is(err, ErrClosed) {
			return
		}
		known := err == nil
		for _, may := range []error{ErrNotFound, ErrExists, ErrBusy, ErrLocked, ErrTooLarge, ErrOffsetOutOfRange, ErrUncertain, ErrInvalid, context.DeadlineExceeded, log.ErrTruncated} {
			known = known || errors.Is(err, may)
		}
		assert.True(o.t, known, "%T: %v", err, err)
	}
}

func (o *operators) topic(ctx context.Context, rnd *rand.Rand) (*Topic, error) {
	name := []string{"orders", "prices"}[rnd.IntN(2)]
	return o.e.Topic(ctx, name, Partitions(2), NoSync(), SegmentBytes(3000), Retention(-1), Set("min.cleanable.dirty.ratio", "0"))
}

func (o *operators) append(ctx context.Context, rnd *rand.Rand) error {
	tp, err := o.topic(ctx, rnd)
	if err != nil {
		return err
	}
	size := rnd.IntN(300)
	if rnd.IntN(50) == 0 {
		size = 2500 + rnd.IntN(1000)
	}
	_, err = tp.Append(ctx, Record{Key: fmt.Appendf(nil, "k%d", rnd.IntN(10)), Value: make([]byte, size)})
	return err
}

func (o *operators) alter(ctx context.Context, rnd *rand.Rand) error {
	tp, err := o.topic(ctx, rnd)
	if err != nil {
		return err
	}
	policy := []string{"delete", "compact", "compact,delete"}[rnd.IntN(3)]
	codec := []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}[rnd.IntN(5)]
	records := []int64{-1, 20}[rnd.IntN(2)]
	return o.e.AlterTopic(ctx, tp.Name(), Set("cleanup.policy", policy), Compression(codec), RetentionRecords(records))
}

func (o *operators) compact(ctx context.Context, _ *rand.Rand) error { return o.e.Compact(ctx) }

func (o *operators) retain(ctx context.Context, _ *rand.Rand) error { return o.e.ApplyRetention(ctx) }

func (o *operators) scrub(ctx context.Context, _ *rand.Rand) error {
	found, err := o.e.Scrub(ctx, ScrubOptions{})
	o.sound(found)
	return err
}

func (o *operators) verify(ctx context.Context, _ *rand.Rand) error {
	found, err := o.e.Verify(ctx, VerifyOptions{})
	o.sound(found)
	return err
}

func (o *operators) sound(found *VerifyReport) {
	if found != nil {
		assert.Empty(o.t, found.Faults)
	}
}

func (o *operators) backup(ctx context.Context, rnd *rand.Rand) error {
	dir := fmt.Sprintf("saved%d", rnd.IntN(2))
	opts := BackupOptions{Copy: rnd.IntN(2) == 0}
	if rnd.IntN(2) == 0 {
		opts.Remove = []string{"prices"}
	}
	_, err := o.e.Backup(ctx, dir, opts)
	if err == nil {
		found, err := VerifyDirectory(o.t.Context(), o.disk, dir, VerifyOptions{})
		assert.NoError(o.t, err)
		o.sound(found)
	}
	return err
}

func (o *operators) recreate(ctx context.Context, rnd *rand.Rand) error {
	if rnd.IntN(30) > 0 {
		time.Sleep(time.Millisecond)
		return nil
	}
	return o.e.DeleteTopic(ctx, "prices")
}

func (o *operators) read(ctx context.Context, rnd *rand.Rand) error {
	tp, err := o.topic(ctx, rnd)
	if err != nil {
		return err
	}
	last := map[int32]int64{}
	for rec, err := range tp.Read(ctx, FromStart(), UntilEnd()) {
		if err != nil {
			return err
		}
		if before, seen := last[rec.Partition]; seen {
			assert.Greater(o.t, rec.Offset, before)
		}
		last[rec.Partition] = rec.Offset
	}
	return nil
}
