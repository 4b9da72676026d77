package topic

import (
	"bytes"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder notes what it is told, in order.
type recorder struct {
	mu   sync.Mutex
	list []string
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, fmt.Sprintf(format, args...))
}

func (r *recorder) events() Events {
	return Events{
		TopicCreated:       func(f TopicFacts) { r.note("created %s %d", f.Topic, f.Partitions) },
		TopicAltered:       func(f TopicFacts) { r.note("altered %s %d", f.Topic, f.Partitions) },
		TopicDeleted:       func(f TopicFacts) { r.note("deleted %s %d", f.Topic, f.Partitions) },
		PartitionOpened:    func(f OpenedFacts) { r.note("opened %s/%d clean=%t", f.Topic, f.Partition, f.Clean) },
		PartitionRecovered: func(f OpenedFacts) { r.note("recovered %s/%d end=%d", f.Topic, f.Partition, f.End) },
		PartitionFailed:    func(f PartitionFault) { r.note("failed %s/%d", f.Topic, f.Partition) },
		Damage:             func(f DamageFacts) { r.note("damage %s/%d", f.Topic, f.Partition) },
		Closed:             func(err error) { r.note("closed %v", err) },
	}
}

func TestEvents(t *testing.T) {
	var r, second recorder
	disk := vfs.NewCrash()
	e := openOn(t, disk, WithEvents(r.events()), WithEvents(second.events()))
	tp := openTopic(t, e, "orders")
	require.NoError(t, e.AlterTopic(t.Context(), "orders", Partitions(2)))
	_, err := tp.Append(t.Context(), Record{}, AppendTo(0))
	require.NoError(t, err)
	openTopic(t, e, "other")
	require.NoError(t, e.DeleteTopic(t.Context(), "other"))
	killed := disk.Kill(0)
	require.NoError(t, e.Close())
	assert.Equal(t, []string{"created orders 1", "altered orders 2", "opened orders/0 clean=false", "created other 1",
		"deleted other 1", "closed <nil>"}, r.list)
	assert.Equal(t, r.list, second.list)

	r.list = nil
	e = openOn(t, killed, WithEvents(r.events()))
	p := partitionOf(t, openTopic(t, e, "orders"), 0)
	assert.Nil(t, p.Recovered(), "not opened yet")
	require.NoError(t, p.Warm(t.Context()))
	assert.Equal(t, []string{"recovered orders/0 end=1", "opened orders/0 clean=false"}, r.list)
	require.NotNil(t, p.Recovered())
	assert.EqualValues(t, 1, p.Recovered().End)
	assert.Equal(t, int64(1), e.Metrics().Total.Recoveries)
}

func TestMissingDirectoryIsDamage(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	tp := openTopic(t, e, "orders", Partitions(2))
	_, err := tp.Append(t.Context(), Record{}, AppendTo(1))
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NoError(t, vfs.RemoveAll(fsys, "data/orders-1"))

	var r recorder
	e = openOn(t, fsys, WithEvents(r.events()))
	tp = openTopic(t, e, "orders")
	_, err = tp.Append(t.Context(), Record{}, AppendTo(1))
	assert.ErrorIs(t, err, ErrCorrupt)
	assert.ErrorContains(t, err, "orders-1")
	_, err = tp.Append(t.Context(), Record{}, AppendTo(0))
	assert.NoError(t, err, "the others work")
	assert.Contains(t, r.list, "failed orders/1")
	require.NoError(t, e.Close())

	e = openOn(t, fsys, AcceptDataLoss())
	_, err = openTopic(t, e, "orders").Append(t.Context(), Record{}, AppendTo(1))
	assert.NoError(t, err, "asked for explicitly")
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	require.NoError(t, partitionOf(t, openTopic(t, e, "orders"), 0).Warm(t.Context()))
	require.NoError(t, e.Close())
	require.NoError(t, vfs.WriteFile(fsys, "data/orders-0/partition.metadata", []byte("version: 0\ntopic_id: AAAAAAAAQAAAAAAAAAAAAQ")))
	e = openOn(t, fsys)
	_, err := openTopic(t, e, "orders").Append(t.Context(), Record{})
	assert.ErrorIs(t, err, ErrCorrupt)
	assert.ErrorContains(t, err, "topic id")
}

func TestTeeEventsKnowsEveryField(t *testing.T) {
	// Every field of both sides is called, a's first, whatever fields are added later.
	var calls []string
	fill := func(side string) Events {
		var ev Events
		v := reflect.ValueOf(&ev).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value {
				calls = append(calls, side+name)
				return nil
			}))
		}
		return ev
	}
	for _, ev := range []Events{TeeEvents(fill("a"), fill("b")), TeeEvents(Events{}, fill("b")), TeeEvents(fill("a"), Events{})} {
		v := reflect.ValueOf(ev)
		for i := range v.NumField() {
			v.Field(i).Call([]reflect.Value{reflect.Zero(v.Field(i).Type().In(0))})
		}
	}
	fields := reflect.TypeFor[Events]().NumField()
	assert.Len(t, calls, 4*fields)
	assert.Equal(t, []string{"aTopicCreated", "bTopicCreated"}, calls[:2])
}

func TestLogEvents(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ev := reflect.ValueOf(LogEvents(logger))
	for i := range ev.NumField() {
		require.False(t, ev.Field(i).IsNil(), ev.Type().Field(i).Name)
		ev.Field(i).Call([]reflect.Value{reflect.Zero(ev.Field(i).Type().In(0))})
	}
	assert.Equal(t, ev.NumField(), strings.Count(out.String(), "\n"))

	out.Reset()
	e := openOn(t, vfs.NewMem(), Logger(logger))
	openTopic(t, e, "orders")
	require.NoError(t, e.Close())
	for _, part := range []string{"engine opened", "topic created", "topic=orders", "engine closed"} {
		assert.Contains(t, out.String(), part)
	}
}
