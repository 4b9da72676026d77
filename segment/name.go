package segment

import (
	"math"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/index"
)

// Kind tells what a file of a log directory is, by its name: one of the Kinds below, possibly joined by | with one mark that says that the
// file is on its way in or out.
type Kind uint8

// The kinds of files that belong to a segment. Snapshot files are named like them but belong to the log.
const (
	KindLog       Kind = iota + 1 // .log        batches
	KindIndex                     // .index      offset index
	KindTimeIndex                 // .timeindex  time index
	KindTxnIndex                  // .txnindex   aborted transactions
	KindSums                      // .sums       side file, our own format
	KindSnapshot                  // .snapshot   producer state
)

// The marks.
const (
	Deleted Kind = 0x10 << iota // .deleted: to be unlinked
	Cleaned                     // .cleaned: being built, worth nothing after a crash
	Swap                        // .swap: complete, about to take its place
	Temp                        // .tmp: being written by vfs.WriteFile, worth nothing after a crash

	markMask = 0xf0
)

// Suffixes for FileName.
const (
	LogSuffix       = ".log"
	IndexSuffix     = ".index"
	TimeIndexSuffix = ".timeindex"
	TxnIndexSuffix  = ".txnindex"
	SumsSuffix      = ".sums"
	SnapshotSuffix  = ".snapshot"
)

const stemDigits = 20

// family is what a segment's files are, data first.
func family() [5]Kind {
	return [...]Kind{KindLog, KindIndex, KindTimeIndex, KindTxnIndex, KindSums}
}

// File is the kind without its mark.
func (k Kind) File() Kind { return k &^ markMask }

// Mark is the mark alone, 0 if there is none.
func (k Kind) Mark() Kind { return k & markMask }

// Suffix is the name's part after the digits, for instance ".index.deleted"; "" if k is no kind.
func (k Kind) Suffix() string {
	file, mark := k.File().fileSuffix(), k.Mark().markSuffix()
	if file == "" {
		return ""
	}
	return file + mark
}

func (k Kind) fileSuffix() string {
	switch k {
	case KindLog:
		return LogSuffix
	case KindIndex:
		return IndexSuffix
	case KindTimeIndex:
		return TimeIndexSuffix
	case KindTxnIndex:
		return TxnIndexSuffix
	case KindSums:
		return SumsSuffix
	case KindSnapshot:
		return SnapshotSuffix
	}
	return ""
}

func (k Kind) markSuffix() string {
	switch k {
	case Deleted:
		return ".deleted"
	case Cleaned:
		return ".cleaned"
	case Swap:
		return ".swap"
	case Temp:
		return ".tmp"
	}
	return ""
}

// FileName is the name of a file of the segment at base: 20 digits and the suffix.
func FileName(base int64, suffix string) string {
	var b [stemDigits + 24]byte
	for i := stemDigits - 1; i >= 0; i-- {
		b[i] = byte('0' + base%10)
		base /= 10
	}
	return string(append(b[:stemDigits], suffix...))
}

// ParseName takes a file name apart. ok is false for every name that FileName would not have made from a base offset and a Kind, also for
// what recovery saved aside: such files are left alone.
func ParseName(name string) (base int64, kind Kind, ok bool) {
	if len(name) <= stemDigits {
		return 0, 0, false
	}
	for i := range stemDigits {
		d := int64(name[i]) - '0'
		if d < 0 || d > 9 || base > (math.MaxInt64-d)/10 {
			return 0, 0, false
		}
		base = base*10 + d
	}
	kind, ok = parseSuffix(name[stemDigits:])
	if !ok {
		return 0, 0, false
	}
	return base, kind, true
}

func parseSuffix(s string) (Kind, bool) {
	mark := Kind(0)
	for _, m := range [...]Kind{Deleted, Cleaned, Swap, Temp} {
		if rest, found := strings.CutSuffix(s, m.markSuffix()); found {
			s, mark = rest, m
			break
		}
	}
	for k := KindLog; k <= KindSnapshot; k++ {
		if s == k.fileSuffix() {
			return k | mark, true
		}
	}
	return 0, false
}

// path is where a file of the segment lies under the given mark.
func (s *Segment) path(file, mark Kind) string {
	return filepath.Join(s.dir, FileName(s.base, (file|mark).Suffix()))
}

// mark is the mark the segment's files carry at present.
func (s *Segment) mark() Kind { return Kind(s.marked.Load()) }

func tableFile(k index.Kind) Kind {
	switch k {
	case index.OffsetKind:
		return KindIndex
	case index.TimeKind:
		return KindTimeIndex
	default:
		return KindTxnIndex
	}
}
