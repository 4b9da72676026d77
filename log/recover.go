package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// OpenState is what the owner of a log knows about it at open.
type OpenState struct {
	Hooks Hooks
	// Epoch is the leader epoch to stamp on appended batches; the log's own latest counts if it is greater.
	Epoch int32
	// ReadOnly opens a log that another process may be writing, without changing
	// anything on disk. It shows what is known to be safe at that moment, and a swap of
	// segments that a crash interrupted as an open for writing would finish it.
	ReadOnly bool
	// AcceptLoss goes on although records known to be durable are gone. Without it
	// Open fails with a [LossError] and changes nothing more.
	AcceptLoss bool
	// Cleaned is the first offset that no compaction has covered, as [Log.FirstDirty] told
	// before. 0, or an offset beyond the log, says that nothing is known.
	Cleaned int64
	// RebuildEpochs makes the history of leader epochs anew from the batches, whatever its file says.
	RebuildEpochs bool
	// Kafka is what Apache Kafka's checkpoint files say of a directory that has no
	// watermark slot of ours yet.
	Kafka KafkaState
}

// KafkaState is what the checkpoint files of a Kafka data directory say of a partition.
type KafkaState struct {
	Clean         bool  // .kafka_cleanshutdown was there
	RecoveryPoint int64 // everything below was flushed
	Start         int64 // log start offset
}

// Recovered tells what Open found and did.
type Recovered struct {
	Clean   bool  // the log was stopped cleanly: nothing was read
	Created bool  // there was no log in the directory
	Scanned int64 // bytes checked
	// CutBytes is the length of the torn tail that was cut off, SavedAs the file it was
	// saved to because it still held a whole batch ("" if it did not).
	CutBytes int64
	SavedAs  string
	Damage   []segment.Damage // damaged ranges below the durable watermark: kept, and reported on read
	Lost     *LossError       // durable records that are gone, with OpenState.AcceptLoss
	Notes    []error          // derived files that were damaged and made anew
}

// Open opens the log in dir, or creates one where there is none; dir's own entry
// in its parent is the caller's to sync. After a clean stop it reads no data;
// after any other it checks what lies above the durable watermark, cuts the torn
// tail and syncs the rest before anyone sees it. It may be repeated after a crash
// at any point.
//
// Errors: [LossError], [ErrNewerFormat] and [NotAFileError] (nothing is changed), an invalid
// cfg, and what the disk says.
func Open(fsys vfs.FS, dir string, cfg *Config, st OpenState) (*Log, Recovered, error) {
	if err := cfg.Validate(); err != nil {
		return nil, Recovered{}, err
	}
	if st.ReadOnly {
		fsys = vfs.ReadOnly(fsys)
	}
	o := &opener{l: &Log{fs: fsys, dir: dir, hooks: &st.Hooks}, st: st, cfg: cfg, rebuildEpochs: st.RebuildEpochs}
	o.l.cfg.Store(cfg)
	o.l.writer.readOnly = st.ReadOnly
	o.scan.history = &o.l.writer.epochs
	if err := o.run(); err != nil {
		o.abandon()
		return nil, o.report, fmt.Errorf("open %s: %w", dir, err)
	}
	return o.l, o.report, nil
}

// opener holds what Open knows while it works.
type opener struct {
	l        *Log
	cfg      *Config
	st       OpenState
	names    []string
	bases    []int64
	slot     slotState
	haveSlot bool
	segments []*segment.Segment
	report   Recovered

	scan          epochScan
	epochsChanged bool            // the history differs from its file
	rebuildEpochs bool            // its file cannot be used
	noHistory     bool            // its file is missing or empty
	shortened     *segment.Damage // the last data file ends before its durable end
	recovered     bool            // the last segment was not stopped cleanly
	slotDue       bool            // what the slot says on disk must not be met by another open
	returned      bool            // another program has led the partition since it was closed
}

func (o *opener) run() error {
	steps := []func() error{
		o.list, o.readSlot, o.loadEpochs, o.checkHome, o.takeBack, o.openSegments, o.endScan, o.finishTruncation, o.checkLoss, o.passEnd, o.passDamage,
		o.publish, o.loadProducers, o.saveEpochs, o.writeSlot,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// abandon closes what a failed Open had opened.
func (o *opener) abandon() {
	o.l.closed.Store(true)
	for _, s := range o.segments {
		s.Retire(func() { _ = s.Close() })
	}
	_ = o.l.slotFile.close()
}

// list reads the directory, makes it if need be, and finishes interrupted
// deletions and swaps of segment files.
func (o *opener) list() error {
	names, err := o.l.fs.List(o.l.dir)
	if errors.Is(err, fs.ErrNotExist) && !o.st.ReadOnly {
		if err := o.l.fs.MkdirAll(o.l.dir); err != nil {
			return err
		}
		names, err = nil, nil
	}
	if err != nil {
		return err
	}
	if names, err = o.finishSwap(names); err != nil {
		return err
	}
	o.names = onlyFiles(o.l.fs, o.l.dir, names)
	for _, name := range o.names {
		if base, kind, ok := segment.ParseName(name); ok && kind == segment.KindLog {
			o.bases = append(o.bases, base)
		}
	}
	slices.Sort(o.bases)
	o.report.Created = len(o.bases) == 0
	return o.checkPlaces()
}

// finishSwap finishes what a crash interrupted among the segment files. Who may change nothing sees them as if it had been
// finished. A writer beside him may be in the middle of just that: then he looks again.
func (o *opener) finishSwap(names []string) ([]string, error) {
	if !o.st.ReadOnly {
		return segment.FinishSwap(o.l.fs, o.l.dir, names)
	}
	disk := o.l.fs
	for look := 1; segment.Swapping(names); look++ {
		o.l.fs = vfs.Preview(disk, o.l.dir)
		seen, err := segment.FinishSwap(o.l.fs, o.l.dir, names)
		again, listErr := disk.List(o.l.dir)
		if listErr != nil {
			return nil, listErr
		}
		if look == looks || slices.Equal(names, again) {
			o.l.previewed = true
			return seen, err
		}
		names = again
	}
	o.l.fs = disk
	return names, nil
}

func (o *opener) readSlot() (err error) {
	o.slot, o.haveSlot, err = o.l.slotFile.slot.open(o.l.fs, o.l.dir)
	if err != nil {
		return err
	}
	if o.l.slotFile.slot.damage != nil {
		o.report.Notes = append(o.report.Notes, o.l.slotFile.slot.damage)
	}
	if !o.haveSlot {
		o.slot.start = o.st.Kafka.Start
	}
	return nil
}

// loadEpochs reads the epoch history; damage means that it is rebuilt from the batches.
func (o *opener) loadEpochs() error {
	e := &o.l.writer.epochs
	err := e.load(o.l.fs, o.l.dir)
	if err == nil && o.haveSlot && o.slot.epochSum != 0 && o.slot.clean && e.sum() != o.slot.epochSum && !o.ledElsewhere() {
		err = fmt.Errorf("%w: %s is not what was saved", ErrCorrupt, LeaderEpochFile)
		e.clear()
	}
	if errors.Is(err, ErrCorrupt) {
		o.report.Notes = append(o.report.Notes, err)
		o.rebuildEpochs = true
		return nil
	}
	o.noHistory = len(e.entries) == 0
	return err
}

// openSegments opens all segments; the last one is recovered unless it was left in order.
func (o *opener) openSegments() error {
	if len(o.bases) == 0 {
		return o.create()
	}
	seg := o.cfg.segmentConfig()
	for i, base := range o.bases[:len(o.bases)-1] {
		if o.trusted(base) {
			o.segments = append(o.segments, segment.OpenSealed(o.l.fs, o.l.dir, base, o.bases[i+1], seg))
			continue
		}
		s, err := o.recoverInner(base)
		if err != nil {
			return err
		}
		o.segments = append(o.segments, s)
	}
	if err := o.openLast(o.bases[len(o.bases)-1]); err != nil {
		return err
	}
	return o.splitFar()
}

// trusted reports whether a segment that is not the last needs no recovery: ours
// are sealed before the next begins, which their side files tell if the slot is lost;
// those of a Kafka directory are flushed below the recovery point.
func (o *opener) trusted(base int64) bool {
	if o.haveSlot && !o.returned || o.st.ReadOnly || o.st.Kafka.Clean || o.following(base) <= o.st.Kafka.RecoveryPoint {
		return true
	}
	s, err := segment.OpenActive(o.l.fs, o.l.dir, base, o.cfg.segmentConfig())
	if err != nil {
		return false
	}
	_ = s.Close()
	return true
}

// following is the base of the segment behind the one at base, which is not the last.
func (o *opener) following(base int64) int64 {
	i, _ := slices.BinarySearch(o.bases, base)
	return o.bases[i+1]
}

func (o *opener) create() error {
	if o.st.ReadOnly {
		return fmt.Errorf("no segment: %w", fs.ErrNotExist)
	}
	s, err := segment.Create(o.l.fs, o.l.dir, o.slot.start, o.cfg.segmentConfig())
	if err != nil {
		return err
	}
	o.segments = append(o.segments, s)
	if o.l.slotFile.slot.exists { // what else the directory has lost is told by others
		return o.l.fs.SyncDir(o.l.dir)
	}
	o.l.fresh = true // its name becomes durable before the first batch
	return nil
}

func (o *opener) openLast(base int64) error {
	if err := o.syncNames(); err != nil {
		return err
	}
	s, err := segment.OpenActive(o.l.fs, o.l.dir, base, o.cfg.segmentConfig())
	if err == nil {
		o.segments = append(o.segments, s)
		o.report.Clean = true
		return nil
	}
	if !errors.Is(err, segment.ErrNoSide) {
		return err
	}
	if o.haveSlot && o.slot.clean && !o.ledElsewhere() { // what a broker appends behind the seal leaves its front as it was
		if err := segment.CheckSealed(o.l.fs, o.l.dir, base); err != nil {
			return err
		}
	}
	opt := segment.RecoverOptions{Sparse: o.slot.sparse, Far: !o.haveSlot}
	if o.haveSlot && o.slot.segmentBase == base && !o.slot.truncating {
		opt.From = Place{Offset: o.slot.durable, Pos: o.slot.position}
		opt.Durable = o.slot.durable
		opt.Indexes = o.slot.indexes
		opt.Dense = o.dense()
	}
	if s, err = o.recoverSegment(base, opt); err != nil {
		return err
	}
	o.segments = append(o.segments, s)
	if n := len(o.report.Damage); n > 0 && o.report.Damage[n-1].Pos == o.report.Damage[n-1].End {
		o.shortened = &o.report.Damage[n-1]
	}
	if o.haveSlot || s.Size() > 0 || o.report.CutBytes > 0 || len(o.bases) > 1 {
		o.recovered = true
		o.slotDue = true
	} else {
		o.report.Clean = true // nothing was ever written
	}
	return nil
}

// syncNames makes durable, after an unclean stop, the names and the slot that a
// killed process may have left in the page cache only: what this open goes by must
// not be taken back by a power cut after it.
func (o *opener) syncNames() error {
	if o.st.ReadOnly || (o.haveSlot && o.slot.clean) {
		return nil
	}
	o.slotDue = o.haveSlot
	return o.l.fs.SyncDir(o.l.dir)
}

// recoverInner recovers a segment that is not the last, and syncs it. Only Kafka leaves one in doubt. Nothing of it is cut, since what follows
// may be good: damage is reported. From then on it is like any other without a side file.
func (o *opener) recoverInner(base int64) (*segment.Segment, error) {
	next := o.following(base)
	s, err := o.recoverSegment(base, segment.RecoverOptions{Limit: next})
	if err == nil {
		err = s.Close()
	}
	if err != nil && !errors.Is(err, record.ErrOldFormat) { // such a one is not read; those behind it are
		return nil, err
	}
	return segment.OpenSealed(o.l.fs, o.l.dir, base, next, o.cfg.segmentConfig()), nil
}

// recoverSegment scans a segment from the last place known to be on disk.
func (o *opener) recoverSegment(base int64, opt segment.RecoverOptions) (*segment.Segment, error) {
	opt.ReadOnly, opt.Visit = o.st.ReadOnly, o.visit
	if !o.rebuildEpochs {
		opt.Epoch = func(offset int64) (int32, bool) { return epochAt(o.l.writer.epochs.entries, offset) }
	}
	s, done, err := segment.Recover(o.l.fs, o.l.dir, base, o.cfg.segmentConfig(), opt)
	if err != nil {
		return nil, err
	}
	o.report.Scanned += done.Scanned
	o.report.CutBytes += done.CutBytes
	for _, d := range done.Righted {
		o.report.Notes = append(o.report.Notes, fmt.Errorf("%w: the header of the batch at offset %d was put right: %w", ErrCorrupt, d.FirstOffset, d.Err))
	}
	o.report.Damage = append(o.report.Damage, done.Damage...)
	if done.SavedAs != "" {
		o.report.SavedAs = done.SavedAs
	}
	return s, nil
}

// visit feeds the epoch history with recovered batches.
func (o *opener) visit(_ int64, b record.Batch) error {
	o.scan.visit(b)
	return nil
}

// endScan ends what recovery makes of leader epochs. Ours are in the history before their first batch is written.
func (o *opener) endScan() error {
	o.scan.end(o.haveSlot && o.slot.epochSum != 0 && !o.rebuildEpochs && !o.noHistory && !o.ledElsewhere())
	o.epochsChanged = o.epochsChanged || o.scan.changed
	return nil
}

// dense tells that the active segment cannot have offsets left out: the slot says so durably before the first such batch is written.
func (o *opener) dense() bool { return !o.slot.sparse && !o.ledElsewhere() }

func (o *opener) active() *segment.Segment { return o.segments[len(o.segments)-1] }

// publish sets the offsets and makes the log readable.
func (o *opener) publish() error {
	l, end := o.l, o.active().Next()
	start := max(o.slot.start, o.segments[0].Base())
	end = max(end, start) // see passEnd
	l.start.Store(start)
	l.end.Store(end)
	l.high.Store(o.highAtOpen(start, end))
	l.stable.Store(start)
	l.view.Store(&view{o.segments})
	if o.st.Cleaned > 0 && o.st.Cleaned <= end {
		l.cleanerOf().firstDirty.Store(o.st.Cleaned)
	}
	l.publishTip(o.active(), end, 0)
	l.raiseDurable(l.syncer.tip.load())
	l.syncer.settled.Store(end)
	l.writer.opened = o.recovered && !o.st.ReadOnly
	l.identified.Store(!o.report.Created && !(o.haveSlot && o.slot.anonymous))
	l.writer.jitter = newJitter(o.cfg)
	l.writer.sparse = o.active().Sparse()
	return nil
}

// highAtOpen is the high watermark to begin with. A log alone has everything it
// recovered on disk. A replicated one trusts what it wrote down. A reader beside a
// writer shows no more than what the writer is known to have on disk.
func (o *opener) highAtOpen(start, end int64) int64 {
	switch {
	case o.cfg.Replicated && o.haveSlot:
		return min(max(o.slot.high, start), end)
	case o.cfg.Replicated && !o.report.Created:
		return start
	case o.st.ReadOnly && o.haveSlot && o.cfg.Durability == Sync && !o.report.Clean:
		return min(max(o.slot.durable, start), end)
	}
	return end
}

// writeSlot replaces what the slot says on disk where the next open must not meet it: an
// intent that is done, a loss that was accepted, or nothing at all.
func (o *opener) writeSlot() error {
	if !o.slotDue || o.st.ReadOnly {
		return nil
	}
	return o.l.writeSlotTwice()
}
