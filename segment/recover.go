package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// RecoverOptions tell a recovery what is known already.
type RecoverOptions struct {
	// From is a batch boundary up to which the data need not be checked: the offset of the batch that starts at the position. The zero value,
	// and one that turns out not to be a boundary, checks everything.
	From Place
	// Durable is an offset: records below it are known to have been synced. Bad bytes in front of it are damage, behind it a torn tail.
	Durable int64
	// Limit is the base of the segment behind this one, which no batch reaches; 0: this is the last one, as far as the entries of indexes
	// reach. In front of a limit nothing is cut, and offsets may be missing, as compaction leaves it.
	Limit int64
	// Dense says that no offset is left out behind From.
	Dense bool
	// Far says that offsets may lie farther from the base than the entries of indexes reach: another program wrote the segment.
	Far bool
	// Indexes is what the index files held when From was written down. Only files that still do are taken over; without it, or when they
	// differ, the indexes are made again from all headers.
	Indexes *IndexSums
	// Sparse says that offsets in front of From may have gaps. Behind it the scan sees for itself.
	Sparse bool
	// ReadOnly leaves every file as it is: what would be cut is only not shown.
	ReadOnly bool
	// Epoch, if set, tells which leader epoch wrote an offset, for headers that are put right: the checksum does not cover it.
	Epoch func(offset int64) (epoch int32, ok bool)
	// Visit, if set, is called with each checked batch in order. Its error ends the recovery. The batch is only good during the call.
	Visit func(pos int64, b record.Batch) error
}

// Recovery tells what a recovery found and did.
type Recovery struct {
	// CutBytes is how many bytes behind the last good batch were cut off, trailing zeros not counted; CutAt is where.
	CutBytes, CutAt int64
	// SavedAs is the path of the file that holds the cut bytes, if a whole batch was among them; else "".
	SavedAs string
	// Damage lists what is bad below Durable, in order. It was left as it is.
	Damage []Damage
	// Righted lists batches behind Durable of which the header alone was damaged, and was put right.
	Righted []Damage
	// AbortedLost says that the file of aborted transactions in front of From is damaged: make the list again and call SetAborted.
	AbortedLost bool
	// Scanned is how many bytes were read and checked.
	Scanned int64
}

// Damage is a stretch of bad bytes in front of the durable end: bytes [Pos, End) of the file, which held the records
// [FirstOffset, NextOffset). Pos equals End when bytes are missing at the end of the file.
type Damage struct {
	Pos, End                int64
	FirstOffset, NextOffset int64
	Err                     error
}

// Recover opens the last segment of a log after an unclean stop and returns it active. It reads the batches from opt.From on, checks them in
// full, and makes facts and indexes again. Bad bytes at or above opt.Durable are cut off, and what follows them too: a hole would be worse;
// if a whole batch is among them they are first saved aside, synced, as <base>.log.cut-<pos>. Bad bytes below opt.Durable are reported and
// left. Zeros at the end are what was written ahead. At return the data file is written again from opt.From on and synced and the side file, if there was one, is gone.
// Recover is idempotent: a crash inside it changes nothing about what the next one finds.
func Recover(fsys vfs.FS, dir string, base int64, cfg *Config, opt RecoverOptions) (*Segment, Recovery, error) {
	s := newSegment(fsys, dir, base, cfg)
	s.limit.Store(opt.Limit)
	if opt.Far {
		s.limit.Store(maxOffset)
	}
	opt.Durable = min(max(opt.Durable, opt.Limit), s.ceiling())
	r := &recovery{s: s, opt: opt}
	err := r.open()
	if err == nil {
		err = r.run()
	}
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		_ = s.Close()
		return nil, r.out, fmt.Errorf("segment: recover %s: %w", s.Path(), err)
	}
	return s, r.out, nil
}

// recovery is a Recover in progress. The segment's facts and indexes grow as batches are passed.
type recovery struct {
	s       *Segment
	opt     RecoverOptions
	f       vfs.File
	size    int64 // of the file
	end     int64 // behind the last byte that is not zero; a batch may well end with zeros
	edge    int64 // what is searched and saved ends here: behind it are only zeros, too many to be a batch's
	check   int64 // batches from here on are checked in full and visited
	out     Recovery
	facts   *facts
	crossed bool        // the scan has left the part that is trusted
	cut     bool        // what lies behind the facts' end goes
	synced  bool        // the directory has to be synced
	fixes   []headerFix // headers put right

	abortedLost bool
}

func (r *recovery) open() error {
	f, err := r.s.data()
	if err != nil {
		return err
	}
	r.f = f
	r.size, err = f.Size()
	if err != nil {
		return err
	}
	if r.end, err = lastNonZero(f, r.size); err != nil {
		return err
	}
	r.edge = min(r.size, r.end+r.s.cfg.maxBatch())
	if r.opt.ReadOnly {
		return nil
	}
	err = r.s.fs.Remove(r.s.path(KindSums, 0))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	r.synced = true
	return err
}

// run passes all batches, once more from the start if From turns out to be no boundary.
func (r *recovery) run() error {
	start := int64(0)
	if r.opt.From.Pos > 0 && r.opt.From.Pos <= r.size {
		r.check = r.opt.From.Pos
		start = r.keepIndexes()
	}
	err := r.scan(start)
	if errors.Is(err, errNoBoundary) {
		r.check = 0
		err = r.scan(0)
	}
	return err
}

// errNoBoundary says that the place up to which data was to be trusted is not where a batch with that offset starts.
var errNoBoundary = errors.New("segment: not a batch boundary")

// reset forgets what an earlier pass learned.
func (r *recovery) reset(keep bool) {
	if !keep {
		r.s.initTables()
		if r.check > 0 {
			r.keepAborted()
		}
	}
	r.s.facts = newFacts(r.s.base, time.Now().UnixMilli())
	r.facts = &r.s.facts
	r.s.unindexed, r.crossed = 0, false
	r.out = Recovery{AbortedLost: r.abortedLost}
	r.fixes = nil
}

// keepIndexes takes over what the index files say about the part that is trusted, and returns the position of its last entry: from there on
// headers are read. 0 means that nothing could be taken over.
func (r *recovery) keepIndexes() int64 {
	s, from := r.s, r.opt.From
	r.keepAborted()
	offsets, err := readTable(s.fs, s.path(KindIndex, 0))
	times, err2 := readTable(s.fs, s.path(KindTimeIndex, 0))
	if err != nil || err2 != nil || !r.opt.Indexes.match(offsets, times) {
		return 0
	}
	offsets, times = offsets[:r.opt.Indexes.OffsetsLen], times[:r.opt.Indexes.TimesLen]
	n := index.CheckOffsets(offsets, s.base, from.Offset, from.Pos)
	if n == 0 {
		return 0
	}
	s.offsets.Preload(offsets[:n])
	last, _, _, _ := s.offsets.Last()
	s.times.Preload(times[:index.CheckTimes(times, s.base, last+1)])
	// The largest timestamp is known up to the last time entry only: go on from there.
	if ts, offset, err := s.times.Last(); err != nil || ts < 0 {
		return 0
	} else if offset < last {
		s.offsets.Truncate(offset + 1)
	}
	_, pos, ok, err := s.offsets.Last()
	if err != nil || !ok {
		return 0
	}
	return pos
}

// keepAborted takes over the aborted transactions in front of From: batches there are not visited, so nobody makes them again.
func (r *recovery) keepAborted() {
	data, err := readTable(r.s.fs, r.s.path(KindTxnIndex, 0))
	n := index.CheckAborted(data, r.s.base, r.opt.From.Offset)
	r.s.aborted.Preload(data[:n])
	rest := data[n:]
	if len(rest) >= index.AbortedEntrySize && index.ParseAborted(rest).LastOffset >= r.opt.From.Offset {
		rest = nil // the first one behind From
	}
	r.abortedLost = err != nil && !errors.Is(err, fs.ErrNotExist) || !allZero(rest)
}

// scan passes the batches from start, an indexed position or 0, to the end.
func (r *recovery) scan(start int64) error {
	r.reset(start > 0)
	if start > 0 {
		if err := r.resume(start); err != nil {
			return err
		}
	}
	c := newScanner(r.f, start, r.size)
	for c.pos < r.end {
		if !r.onBoundary(c.pos) {
			return errNoBoundary
		}
		b, err := c.next()
		if err == nil {
			err = r.checkBatch(c, b)
		}
		if isDamage(err) && c.pos >= r.check {
			b, err = r.right(c, err)
		}
		if err == nil {
			err = r.pass(c, b)
			if err != nil {
				return err
			}
			continue
		}
		if !isDamage(err) {
			return err
		}
		if c.pos < r.check {
			return errNoBoundary // the part that was to be trusted is bad: check all of it
		}
		if done, err := r.bad(c, err); done || err != nil {
			return err
		}
	}
	if c.pos < r.check || !r.onBoundary(c.pos) {
		return errNoBoundary
	}
	return r.missing(c.pos, nil)
}

// onBoundary tells whether the scan leaves the part that is trusted where it should, at the offset it should; true inside the part and
// behind it.
func (r *recovery) onBoundary(pos int64) bool {
	if r.check == 0 || r.crossed || pos < r.check {
		return true
	}
	r.crossed = pos == r.check && r.facts.next <= r.opt.From.Offset
	return r.crossed
}

// resume sets the facts as of the last index entry taken over.
func (r *recovery) resume(start int64) error {
	s := r.s
	look := reader{s: s, f: r.f, size: r.size, next: r.opt.From.Offset, sparse: true}
	first, err := look.header(spot{0, s.base, -1}, minRead)
	if err != nil {
		return r.untrusted(err)
	}
	r.facts.firstTimestamp = record.Batch(look.buf[:min(first.size, int64(len(look.buf)))]).MaxTimestamp()
	last, pos, _, err := s.offsets.Last()
	if err != nil {
		return err
	}
	h, err := look.header(spot{pos, -1, last}, minRead)
	if err != nil {
		return r.untrusted(err)
	}
	if ts, offset, err := s.times.Last(); err == nil {
		r.facts.maxTimestamp, r.facts.maxOffset = ts, offset
	}
	// The scan counts the indexed batch itself once more; its entry exists.
	r.facts.size, r.facts.next = start, h.base
	r.facts.partial, r.facts.sparse = true, r.opt.Sparse
	return nil
}

func (r *recovery) untrusted(err error) error {
	if isDamage(err) {
		return errNoBoundary
	}
	return err
}

// checkBatch decides whether a batch may be where it is. In the part that is trusted its checksum is not looked at.
func (r *recovery) checkBatch(c *scanner, b record.Batch) error {
	d := everything
	if c.pos < r.check {
		d = headersOnly
	}
	if err := r.s.plausible(b, r.facts.next, d); err != nil {
		return err
	}
	if b.BaseOffset() == r.facts.next || c.pos < r.check {
		return nil
	}
	return r.checkGap(c, b)
}

// checkGap looks at a batch that leaves offsets out. The checksum does not cover the base offset, so the gap may be a flipped bit: it is when
// the batch behind continues as if there were no gap, or when the durable end, which is the end of some batch, lies in what is left out.
func (r *recovery) checkGap(c *scanner, b record.Batch) error {
	next, count := r.facts.next, int64(b.LastOffsetDelta())+1
	if r.opt.Dense {
		return errOutOfOrder
	}
	if next < r.opt.Durable && b.NextOffset() > r.opt.Durable {
		return errOutOfOrder
	}
	look := reader{s: r.s, f: r.f, size: r.size, next: maxOffset}
	if _, err := look.header(spot{c.pos + int64(len(b)), next + count, -1}, record.HeaderSize); err == nil {
		return errOutOfOrder
	}
	return nil
}

// right puts the header of the batch at the scanner's place right, if that is all that is wrong with it. Below the durable end damage is told, and
// Salvage's to mend.
func (r *recovery) right(c *scanner, cause error) (record.Batch, error) {
	if r.facts.next < r.opt.Durable {
		return nil, cause
	}
	b, err := r.s.righted(r.f, c.pos, r.facts.next, r.end, r.size, r.opt.Dense)
	if b == nil && err == nil {
		err = cause
	}
	if err != nil {
		return nil, err
	}
	b.SetLeaderEpoch(r.epochOf(b))
	r.fixes = append(r.fixes, headerFix{c.pos, [17]byte(b)})
	r.out.Righted = append(r.out.Righted, Damage{c.pos, c.pos + int64(len(b)), b.BaseOffset(), b.NextOffset(), cause})
	return b, nil
}

// epochOf is the leader epoch of a batch whose header was put right: the history's, or where that does not tell its own, and none below that of the batch
// in front.
func (r *recovery) epochOf(b record.Batch) int32 {
	own := b.LeaderEpoch()
	if r.opt.Epoch != nil {
		if epoch, ok := r.opt.Epoch(b.BaseOffset()); ok {
			own = epoch
		}
	}
	return max(own, r.facts.lastEpoch)
}

// pass takes a good batch in.
func (r *recovery) pass(c *scanner, b record.Batch) error {
	if c.pos >= r.check {
		r.out.Scanned += int64(len(b))
		if r.opt.Visit != nil {
			if err := r.opt.Visit(c.pos, b); err != nil {
				return err
			}
		}
	}
	r.facts.add(b)
	r.s.noteBatch(r.facts, b, c.pos)
	c.skip(len(b))
	r.facts.size = c.pos
	return nil
}

// bad handles bad bytes at the scanner's place: damage is noted and passed over, a torn tail ends the scan.
func (r *recovery) bad(c *scanner, cause error) (done bool, err error) {
	next := r.facts.next
	if next >= r.opt.Durable {
		r.cut = true
		return true, nil
	}
	at, b, err := r.s.resync(r.f, c.pos+1, r.edge, next, r.s.ceiling(), r.edge)
	if err == io.EOF || err == errLimit {
		return true, r.missing(c.pos, cause)
	}
	if err != nil {
		return true, err
	}
	r.addDamage(Damage{c.pos, at, next, b.BaseOffset(), cause})
	r.facts.next, r.facts.size = b.BaseOffset(), at
	c.jump(at)
	return false, nil
}

// missing notes that no good batch follows pos although the durable end lies behind it. The bytes, if there are any, stay.
func (r *recovery) missing(pos int64, cause error) error {
	next := r.facts.next
	if next >= r.opt.Durable || cause == nil && r.opt.Limit > 0 {
		return nil
	}
	if cause == nil {
		cause = io.ErrUnexpectedEOF
	}
	end := max(pos, r.end)
	if pos < r.end {
		end = r.edge // a batch among the damaged bytes may have ended with zeros
	}
	r.addDamage(Damage{pos, end, next, r.opt.Durable, cause})
	r.facts.next, r.facts.size, r.facts.loose = r.opt.Durable, end, true
	return nil
}

func (r *recovery) addDamage(d Damage) {
	r.out.Damage = append(r.out.Damage, d)
	r.facts.sparse = true
	r.facts.partial = true
}

// settle puts on disk what the scan decided.
func (r *recovery) settle() error {
	end := r.facts.size
	if r.cut {
		r.out.CutAt, r.out.CutBytes = end, r.end-end
	}
	r.s.countUnindexed(end)
	r.s.ahead = end
	if r.opt.ReadOnly {
		return r.overlay()
	}
	for i := range r.fixes {
		if _, err := r.f.WriteAt(r.fixes[i].head[:], r.fixes[i].pos); err != nil {
			return err
		}
	}
	if r.cut {
		if err := r.saveAside(end); err != nil {
			return err
		}
	}
	if r.size > end {
		if err := r.f.Truncate(end); err != nil {
			return err
		}
	}
	if err := r.rewriteUnsynced(min(r.check, end), end); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return err
	}
	if r.synced {
		if err := r.s.fs.SyncDir(r.s.dir); err != nil {
			return err
		}
	}
	// Derived files: a failure costs a rebuild at the next open.
	_ = r.s.FlushIndex()
	return nil
}

// overlay shows headers as they should be where they must not be written.
func (r *recovery) overlay() error {
	if len(r.fixes) > 0 {
		r.s.file.Store(&handle{&rightedFile{r.f, r.fixes}, false})
	}
	return nil
}
