package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	hangTime = 20 * time.Millisecond // what a call's context gives it
	// hangPatience is when a call that has not returned never will; a busy machine takes its time.
	hangPatience = 30 * time.Second
	hangRecords  = 8
)

// hangOps are the calls of a disk that hang, all at once for OpAny.
var hangOps = []vfs.Op{vfs.OpAny, vfs.OpWrite, vfs.OpSync, vfs.OpRead, vfs.OpOpen, vfs.OpOpenRead, vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpSyncDir, vfs.OpStat, vfs.OpList}

// hung is an engine with work of every kind, on a disk that hangs from some call on.
type hung struct {
	disk   *vfs.Fault
	open   chan struct{} // closed when the disk goes on
	eng    *topic.Engine
	orders *topic.Topic
	groups *group.Coordinator
	member *group.Consumer
	queue  *group.Queue
	router *group.Router
}

// hangCalls is what is called, each with a context that ends: of the engine, of groups, queues and routers.
var hangCalls = map[string]func(ctx context.Context, h *hung) error{
	"append": func(ctx context.Context, h *hung) error {
		return h.append(ctx, topic.Record{Key: []byte("k"), Value: []byte("v")})
	},
	"append-new": func(ctx context.Context, h *hung) error {
		return h.append(ctx, topic.Record{Key: []byte("k")}, topic.AppendTo(1))
	},
	"delayed": func(ctx context.Context, h *hung) error {
		return h.append(ctx, topic.Record{Key: []byte("k")}, topic.DeliverAfter(time.Hour))
	},
	"send": func(ctx context.Context, h *hung) error {
		p, err := h.eng.NewProducer()
		if err == nil {
			_, err = p.SendSync(ctx, "orders", topic.Record{Key: []byte("k"), Value: []byte("v")})
		}
		return err
	},
	"read": func(ctx context.Context, h *hung) error {
		for _, err := range h.orders.Read(ctx) {
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	},
	"create":  func(ctx context.Context, h *hung) error { _, err := h.eng.CreateTopic(ctx, "new"); return err },
	"alter":   func(ctx context.Context, h *hung) error { return h.eng.AlterTopic(ctx, "orders", topic.Partitions(4)) },
	"delete":  func(ctx context.Context, h *hung) error { return h.eng.DeleteTopic(ctx, "copies") },
	"compact": func(ctx context.Context, h *hung) error { return h.eng.Compact(ctx) },
	"retain":  func(ctx context.Context, h *hung) error { return h.eng.ApplyRetention(ctx) },
	"tick":    func(ctx context.Context, h *hung) error { return h.eng.Tick(ctx, time.Now().Add(time.Hour)) },
	"scrub":   func(ctx context.Context, h *hung) error { _, err := h.eng.Scrub(ctx, topic.ScrubOptions{}); return err },
	"verify": func(ctx context.Context, h *hung) error {
		_, err := h.eng.Verify(ctx, topic.VerifyOptions{})
		return err
	},
	"backup": func(ctx context.Context, h *hung) error {
		_, err := h.eng.Backup(ctx, "copy", topic.BackupOptions{})
		return err
	},
	"checkpoint": func(ctx context.Context, h *hung) error { return h.eng.Checkpoint(ctx) },
	"flush":      func(ctx context.Context, h *hung) error { return h.eng.Flush(ctx) },
	"shutdown":   func(ctx context.Context, h *hung) error { return h.eng.Shutdown(ctx) },
	"join": func(ctx context.Context, h *hung) error {
		_, err := group.Join(ctx, h.eng, "other", group.Topics("orders"))
		return err
	},
	"member": func(ctx context.Context, h *hung) error {
		return h.member.Run(ctx, 2, func(context.Context, *group.Batch) error { return nil })
	},
	"member-shutdown": func(ctx context.Context, h *hung) error { return h.member.Shutdown(ctx) },
	"member-drain":    func(ctx context.Context, h *hung) error { return h.member.Drain(ctx) },
	"describe":        func(ctx context.Context, h *hung) error { _, err := h.groups.Describe(ctx, "billing"); return err },
	"lag":             func(ctx context.Context, h *hung) error { _, err := h.groups.Lag(ctx, "billing"); return err },
	"reset": func(ctx context.Context, h *hung) error {
		_, err := h.groups.ResetOffsets(ctx, "idle", group.ToEarliest())
		return err
	},
	"queue-open": func(ctx context.Context, h *hung) error { _, err := group.OpenQueue(ctx, h.eng, "new"); return err },
	"queue": func(ctx context.Context, h *hung) error {
		return h.queue.Run(ctx, 3, func(_ context.Context, d *group.Delivery) error {
			if d.Attempt == 1 {
				return errors.New("not yet")
			}
			return nil
		})
	},
	"queue-peek":     func(ctx context.Context, h *hung) error { _, err := h.queue.Peek(ctx, 3); return err },
	"queue-shutdown": func(ctx context.Context, h *hung) error { return h.queue.Shutdown(ctx) },
	"queue-drain":    func(ctx context.Context, h *hung) error { return h.queue.Drain(ctx) },
	"router":         func(ctx context.Context, h *hung) error { return h.router.Run(ctx, 2) },
	"router-drain":   func(ctx context.Context, h *hung) error { return h.router.Drain(ctx) },
}

func (h *hung) append(ctx context.Context, rec topic.Record, opts ...topic.AppendOption) error {
	_, err := h.orders.Append(ctx, rec, opts...)
	return err
}

// runHang hangs the disk under every call, from its first call of a kind on or from the third: the call returns with its context, and once the
// disk goes on, so does the engine.
func runHang(r *runner, t *tally, seed uint64) {
	var names []caseName
	for _, call := range slices.Sorted(maps.Keys(hangCalls)) {
		for _, op := range hangOps {
			for k := 1; k <= 2*r.count; k++ {
				names = append(names, caseName{t.lane.name, call, fmt.Sprintf("%v.%d", op, 2*k-1), "hang", seed})
			}
		}
	}
	r.each(len(names), func(i int) { r.try(t, names[i], func() error { return replayHang(r, names[i]) }) })
}

func replayHang(_ *runner, c caseName) error {
	call, known := hangCalls[c.Scenario]
	text, from, _ := strings.Cut(c.Op, ".")
	k, err := strconv.Atoi(from)
	if !known || err != nil {
		return unknownScenario(c)
	}
	for _, op := range hangOps {
		if op.String() == text {
			return hangUnder(call, op, k)
		}
	}
	return fmt.Errorf("proof: no operation %q", text)
}

func hangUnder(call func(context.Context, *hung) error, op vfs.Op, k int) error {
	h, err := newHung()
	if err != nil {
		return err
	}
	h.disk.Add(vfs.Rule{Op: op, K: k, Count: vfs.Forever, Hook: func(vfs.Op, string) { <-h.open }})
	ctx, cancel := context.WithTimeout(context.Background(), hangTime)
	defer cancel()
	told := make(chan error, 3)
	for range 3 {
		go func() { told <- call(ctx, h) }()
	}
	late := time.After(hangPatience)
	for range 3 {
		select {
		case err := <-told:
			if err != nil && ctx.Err() != nil && !errors.Is(err, context.DeadlineExceeded) && !hangExpected(err) {
				return faultf(wrong, "%v", err)
			}
		case <-late:
			close(h.open)
			return faultf(death, "the call has not returned %v after its context", hangPatience)
		}
	}
	h.disk.Clear()
	close(h.open)
	return h.goesOn()
}

// hangExpected tells what two calls at once say of each other.
func hangExpected(err error) bool {
	return errors.Is(err, topic.ErrClosed) || errors.Is(err, topic.ErrExists) || errors.Is(err, topic.ErrNotFound) || errors.Is(err, topic.ErrInvalid)
}

func newHung() (*hung, error) {
	h := &hung{disk: vfs.NewFault(vfs.NewMem()), open: make(chan struct{})}
	var err error
	if h.eng, err = openHung(h.disk); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if h.orders, err = h.eng.Topic(ctx, "orders", topic.Partitions(2), topic.SegmentBytes(400), topic.CleanupWith(topic.CleanupCompact)); err != nil {
		return nil, err
	}
	for i := range hangRecords {
		if err := h.append(ctx, topic.Record{Key: []byte("k"), Value: fmt.Append(make([]byte, 100), i)}, topic.AppendTo(0)); err != nil {
			return nil, err
		}
	}
	h.groups, err = group.On(h.eng)
	if err == nil {
		h.member, err = group.Join(ctx, h.eng, "billing", group.Topics("orders"))
	}
	if err == nil {
		h.queue, err = group.OpenQueue(ctx, h.eng, "jobs", group.Backoff(time.Millisecond, time.Millisecond))
	}
	if err == nil {
		_, err = h.queue.Topic().Append(ctx, topic.Record{Value: []byte("job")})
	}
	if err == nil {
		h.router, err = group.OpenRouter(ctx, h.eng, "router", group.From("orders"), group.Bind(group.Fanout("copies")))
	}
	return h, err
}

func openHung(disk vfs.FS) (*topic.Engine, error) {
	return topic.Open("data", topic.On(disk), topic.Logger(slog.New(slog.DiscardHandler)), topic.InternalPartitions(1))
}

// goesOn appends, stops in good order, looks for damage and reads what was appended.
func (h *hung) goesOn() error {
	ctx, cancel := context.WithTimeout(context.Background(), hangPatience)
	defer cancel()
	last := topic.Record{Key: []byte("last"), Value: []byte("after")}
	err := h.append(ctx, last, topic.AppendTo(0))
	closed := errors.Is(err, topic.ErrClosed)
	if err != nil && !closed {
		return faultf(wrong, "append after the disk went on: %v", err)
	}
	if err := h.eng.Shutdown(ctx); err != nil && !errors.Is(err, topic.ErrClosed) {
		return faultf(wrong, "stop after the disk went on: %v", err)
	}
	report, err := topic.VerifyDirectory(ctx, h.disk, "data", topic.VerifyOptions{})
	if err != nil || len(report.Faults) > 0 {
		return faultf(lost, "verify: %v %v", err, report)
	}
	again, err := openHung(h.disk)
	if err != nil {
		return faultf(lost, "open again: %v", err)
	}
	got, err := lastOf(ctx, again)
	if err == nil && !closed && got != "after" {
		err = faultf(lost, "the record has the value %q", got)
	}
	return errors.Join(err, again.Close())
}

// lastOf is the value of the record that was appended after the disk went on.
func lastOf(ctx context.Context, eng *topic.Engine) (value string, err error) {
	t, err := eng.Topic(ctx, "orders")
	if err != nil {
		return "", err
	}
	for rec, err := range t.Read(ctx, topic.OnPartitions(0), topic.UntilEnd()) {
		if err != nil {
			return "", err
		}
		if string(rec.Key) == "last" {
			value = string(rec.Value)
		}
	}
	return value, nil
}
