package group

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/wire"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

func shareLog(t *testing.T, e *topictest.Engine) (*topic.Topic, *stateLog) {
	tp := e.OpenTopic(ShareStateTopic, topic.SegmentBytes(64<<10))
	l, err := loadStateLog(t.Context(), tp, 0)
	require.NoError(t, err)
	return tp, l
}

// Whatever was written, the log brings back what the writer knows; and it does not grow, also when a queue that shares it is idle.
func TestShareStateComesBackFromItsLog(t *testing.T) {
	e := topictest.New(t)
	tp, l := shareLog(t, e)
	rng := rand.New(rand.NewPCG(8, 9))
	busy, idle := shareKey{"busy", tp.ID(), 0}, shareKey{"idle", tp.ID(), 1}
	_, err := l.begin(idle, 7)
	require.NoError(t, err)
	s, err := l.begin(busy, 0)
	require.NoError(t, err)
	for n := range int64(30000) {
		changes := runs{{n, n, stateAvailable, 1}}
		if n > 20 {
			changes = runs{{n - rng.Int64N(20), 0, stateAcknowledged, 0}, {n + 1, n + 1, stateAvailable, int16(rng.IntN(5))}}
			changes[0].last = changes[0].first
		}
		stories := map[int64]story{}
		if n%10 == 0 {
			stories[n] = story{attempts: []Attempt{{1, time.UnixMilli(n), "no"}}, due: time.UnixMilli(n + 5)}
		}
		l.claim(s)
		full, err := l.write(busy, s, max(n-50, 0), changes, stories)
		if full {
			require.NoError(t, l.snapshot(busy, s))
		}
		l.yield(s)
		require.NoError(t, err)
		if full {
			require.NoError(t, l.prune())
		}
	}
	o, err := l.part.Offsets()
	require.NoError(t, err)
	assert.Less(t, o.End-o.Start, int64(coldAfter+2*pruneStep))
	assert.Positive(t, o.Start)

	_, again := shareLog(t, e.Crash(topictest.LoseUnsynced))
	for _, key := range []shareKey{busy, idle} {
		want, got := l.states[key], again.states[key]
		require.NotNil(t, got, key.queue)
		assert.Equal(t, want.start, got.start)
		assert.Equal(t, want.runs, got.runs)
		assert.Equal(t, want.stories, got.stories)
		assert.Equal(t, want.epoch, got.epoch)
		assert.Equal(t, want.updates, got.updates)
		assert.Equal(t, want.at, got.at)
	}
}

// The bytes are Kafka's: key and value of ShareSnapshot and ShareUpdate, version 0, as Kafka 4.2 lays them out.
func TestShareRecordBytes(t *testing.T) {
	k := shareKey{queue: "q", topic: topic.ID{1, 2, 15: 16}, partition: 3}
	assert.Equal(t, "0000"+"000171"+"01020000000000000000000000000010"+"00000003", hex.EncodeToString(k.append(shareSnapshotKind, 0)))
	assert.Equal(t, "0001"+"000171"+"01020000000000000000000000000010"+"00000003", hex.EncodeToString(k.append(shareUpdateKind, 0)))
	v := shareSnapshot{epoch: 1, stateEpoch: 2, leaderEpoch: 3, start: 4, created: 5, written: 6, runs: runs{{4, 9, stateArchived, 2}}}
	assert.Equal(t, "0000"+"00000001"+"00000002"+"00000003"+"0000000000000004"+"0000000000000005"+"0000000000000006"+
		"02"+"0000000000000004"+"0000000000000009"+"04"+"0002"+"00"+"00", hex.EncodeToString(v.append(shareSnapshotKind)))
	assert.Equal(t, "0000"+"00000001"+"00000003"+"0000000000000004"+"02"+"0000000000000004"+"0000000000000009"+"04"+"0002"+"00"+"00",
		hex.EncodeToString(v.append(shareUpdateKind)))

	// With the tagged field of Kafka 4.2, DeliveryCompleteCount.
	tagged, err := hex.DecodeString("0000" + "00000001" + "00000003" + "ffffffffffffffff" + "01" + "01" + "00" + "04" + "00000007")
	require.NoError(t, err)
	got, err := parseShareSnapshot(shareUpdateKind, tagged)
	require.NoError(t, err)
	assert.EqualValues(t, -1, got.start)
	assert.Equal(t, int32(0), k.home(1))
	assert.Equal(t, PartitionFor("q:"+k.topic.String()+":3", 50), k.home(50))
}

func FuzzShareRecords(f *testing.F) {
	k := shareKey{queue: "q", partition: 3}
	v := shareSnapshot{epoch: 1, start: 4, runs: runs{{4, 9, stateArchived, 2}}}
	told := story{attempts: []Attempt{{1, time.UnixMilli(5), "no"}}, due: time.UnixMilli(6), dead: deadRejected}
	for _, kind := range []int16{shareSnapshotKind, shareUpdateKind, shareStoryKind} {
		f.Add(k.append(kind, 9), v.append(kind))
		f.Add(k.append(kind, 9), told.append())
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		kind, k, at, err := parseShareKey(key)
		if err == nil && (kind == shareSnapshotKind || kind == shareUpdateKind || kind == shareStoryKind) {
			require.Equal(t, key[:len(k.append(kind, at))], k.append(kind, at))
		}
		for _, kind := range []int16{shareSnapshotKind, shareUpdateKind} {
			v, err := parseShareSnapshot(kind, value)
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				continue
			}
			again, err := parseShareSnapshot(kind, v.append(kind))
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
		if told, err := parseStory(value); err == nil {
			again, err := parseStory(told.append())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(told), fmt.Sprint(again))
		}
		l := &stateLog{states: map[shareKey]*shareState{}}
		_ = l.replay(&topic.Record{Key: key, Value: value})
	})
}

// A change looks at what it changes, whatever rests beside it: the work of a storm of resting records grows as their number does.
func TestStoriesCostTheSameBesideManyOthers(t *testing.T) {
	work := func(resting int64) (looked int) {
		s := newShareState(0)
		for at := range resting {
			looked += s.apply(0, runs{{at, at, stateAvailable, 1}}, map[int64]story{at: {due: time.UnixMilli(at)}})
		}
		require.Len(t, s.stories, int(resting))
		for at := range resting {
			looked += s.apply(at+1, runs{{at, at, stateAcknowledged, 0}}, nil)
		}
		require.Empty(t, s.stories)
		return looked
	}
	require.Equal(t, 2*1000, work(1000))
	require.Equal(t, 2*20000, work(20000))
}

// Snapshots repeat the stories, and come when there were as many updates: what is written of a storm grows as its records do.
func TestSnapshotsOfAStormGrowWithIt(t *testing.T) {
	written := func(resting int64) int64 {
		e := topictest.New(t)
		_, l := shareLog(t, e)
		key := shareKey{queue: "q"}
		s, err := l.begin(key, 0)
		require.NoError(t, err)
		l.claim(s)
		defer l.yield(s)
		for at := range resting {
			full, err := l.write(key, s, 0, runs{{at, at, stateAvailable, 1}}, map[int64]story{at: {}})
			require.NoError(t, err)
			if full {
				require.NoError(t, l.snapshot(key, s))
			}
		}
		end, err := l.part.End()
		require.NoError(t, err)
		return end
	}
	require.Less(t, written(8000), 9*written(1000))
}

// However little the topic takes at a time, whatever is to be stored fits: updates are split, long stories shortened, and a snapshot that is
// too long is done without.
func TestStateFitsWhatItsTopicTakes(t *testing.T) {
	e := topictest.New(t)
	tp := e.OpenTopic(ShareStateTopic, topic.MaxMessageBytes(2000), topic.SegmentBytes(64<<10))
	l, err := loadStateLog(t.Context(), tp, 0)
	require.NoError(t, err)
	key := shareKey{queue: "q"}
	s, err := l.begin(key, 0)
	require.NoError(t, err)
	l.claim(s)
	defer l.yield(s)
	changes, stories := runs{}, map[int64]story{}
	for at := range int64(1000) {
		changes = append(changes, stateRun{2 * at, 2 * at, stateAvailable, int16(1 + at%2)})
	}
	stories[0] = story{known: 7, due: time.UnixMilli(9), attempts: []Attempt{{1, time.UnixMilli(1), strings.Repeat("x", 512)}, {2, time.UnixMilli(2), strings.Repeat("y", 512)}}}
	stories[2] = story{known: 1, attempts: []Attempt{{1, time.UnixMilli(3), "short"}}}
	_, err = l.write(key, s, 0, changes, stories)
	require.NoError(t, err)
	require.ErrorIs(t, l.snapshot(key, s), errStateRoom)
	_, again := shareLog(t, e.Crash(topictest.LoseUnsynced))
	got := again.state(key)
	require.Equal(t, s.runs, got.runs)
	require.Equal(t, story{known: 7, due: time.UnixMilli(9)}, got.stories[0])
	require.Equal(t, stories[2], got.stories[2])
}

// A story that an earlier version has stored is read, and cut down to what is kept today.
func TestOldStoriesAreRead(t *testing.T) {
	var e wire.Encoder
	e.Int16(0)
	e.Int8(int8(deadNot))
	e.Int64(77)
	e.Int32(2100)
	for n := range 2100 {
		e.Int16(int16(n + 1))
		e.Int64(int64(n))
		e.String("no")
	}
	told, err := parseStory(e.Buf)
	require.NoError(t, err)
	require.EqualValues(t, 2100, told.known)
	require.Equal(t, time.UnixMilli(77), told.due)
	require.Len(t, told.attempts, 2*keptAttempts)
	require.Equal(t, 5, told.attempts[4].Number)
	require.Equal(t, 2096, told.attempts[5].Number)
	require.Equal(t, 2100, told.attempts[9].Number)
}
