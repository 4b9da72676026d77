package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/segment"
	"github.com/quirelog/quire/topic"
)

func (t *tool) verify(name string, args []string) error {
	f := t.flags(name, "[DIRECTORY]", `Read every file of a directory of topics, or of one partition, and tell what is wrong: checksums, lengths,
records, the order of offsets, indexes against data, side files, snapshots, checkpoints. Nothing is changed.
Bytes behind what is known to be on disk (a torn tail, which the next open cuts off) are told but are no damage.
Files of other names are left alone.`)
	dir := dirFlag(f)
	quiet := f.Bool("q", false, "tell damage only")
	asJSON := f.Bool("json", false, "one JSON object a line")
	rest, err := t.parse(f, args, 0, 1)
	if err != nil {
		return err
	}
	if len(rest) == 1 {
		*dir = rest[0]
	}
	v := &verifier{t: t, ctx: t.ctx, dir: *dir, quiet: *quiet, asJSON: *asJSON, bar: examples.NewBar(io.Discard, "", 0)}
	err = v.directory()
	v.bar.Done()
	if err != nil {
		return err
	}
	if !*quiet {
		if err := v.tell(v.sum); err != nil {
			return err
		}
	}
	if v.sum.Damaged > 0 {
		return errDamage
	}
	return nil
}

// A verifier goes through a directory and counts.
type verifier struct {
	t        *tool
	ctx      context.Context
	dir      string
	quiet    bool
	asJSON   bool
	manifest *topic.Manifest // nil when there is none
	bar      *examples.Bar
	read     int64 // bytes of data files so far
	sum      sumFact
}

// sumFact is the last line.
type sumFact struct {
	Kind       string `json:"kind"`
	Partitions int    `json:"partitions"`
	Segments   int    `json:"segments"`
	Batches    int    `json:"batches"`
	Records    int    `json:"records"`
	Bytes      int64  `json:"bytes"`
	Notes      int    `json:"notes"`
	Damaged    int    `json:"damaged"`
}

func (s sumFact) String() string {
	verdict := "no damage"
	if s.Damaged > 0 {
		verdict = fmt.Sprintf("DAMAGE in %d places", s.Damaged)
	}
	return fmt.Sprintf("%d partitions, %d segments, %d batches, %d records, %d bytes: %s", s.Partitions, s.Segments, s.Batches, s.Records, s.Bytes, verdict)
}

// finding is something that is wrong, or (kind note) worth telling.
type finding struct {
	Kind string `json:"kind"`
	File string `json:"file"`
	Text string `json:"text"`
}

func (f finding) String() string {
	return fmt.Sprintf("%s%s: %s", ifSo(f.Kind == "damage", "DAMAGE "), f.File, f.Text)
}

func (v *verifier) tell(fact fmt.Stringer) error {
	v.bar.Done()
	if v.asJSON {
		return v.t.json(fact)
	}
	_, err := fmt.Fprintln(v.t.stdout, fact)
	return err
}

// damage tells a fault. Findings are told where they are found; an output that fails ends the run elsewhere.
func (v *verifier) damage(path, format string, args ...any) {
	v.sum.Damaged++
	_ = v.tell(finding{"damage", v.short(path), fmt.Sprintf(format, args...)})
}

func (v *verifier) note(path, format string, args ...any) {
	v.sum.Notes++
	if !v.quiet {
		_ = v.tell(finding{"note", v.short(path), fmt.Sprintf(format, args...)})
	}
}

// short is a path below the directory.
func (v *verifier) short(path string) string {
	if rel, err := filepath.Rel(v.dir, path); err == nil {
		return rel
	}
	return path
}

// directory checks an engine's directory, or a partition's.
func (v *verifier) directory() error {
	v.sum.Kind = "sum"
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return err
	}
	if holdsSegments(entries) {
		v.measure([]string{v.dir})
		return v.partition(v.dir, "")
	}
	if err := v.engineFiles(entries); err != nil {
		return err
	}
	var dirs []string
	for _, e := range entries {
		if _, _, ok := partitionOf(e.Name()); ok && e.IsDir() {
			dirs = append(dirs, filepath.Join(v.dir, e.Name()))
		}
	}
	v.measure(dirs)
	for _, dir := range dirs {
		name, _, _ := partitionOf(filepath.Base(dir))
		if err := v.partition(dir, name); err != nil {
			return err
		}
	}
	v.missing(dirs)
	return nil
}

func holdsSegments(entries []fs.DirEntry) bool {
	for _, e := range entries {
		if _, kind, ok := segment.ParseName(e.Name()); ok && kind == segment.KindLog {
			return true
		}
	}
	return false
}

// partitionOf takes a partition directory's name apart: the topic, and the number behind the last hyphen.
func partitionOf(name string) (topicName string, partition int, ok bool) {
	at := strings.LastIndexByte(name, '-')
	if at <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[at+1:], 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != name[at+1:] {
		return "", 0, false
	}
	return name[:at], int(n), true
}

// measure begins the progress bar.
func (v *verifier) measure(dirs []string) {
	total := int64(0)
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if _, kind, ok := segment.ParseName(e.Name()); ok && kind == segment.KindLog {
				if info, err := e.Info(); err == nil {
					total += info.Size()
				}
			}
		}
	}
	v.bar = examples.NewBar(v.t.stderr, "verifying", total)
}

// engineFiles checks the files beside the partitions.
func (v *verifier) engineFiles(entries []fs.DirEntry) error {
	for _, e := range entries {
		path := filepath.Join(v.dir, e.Name())
		switch name := e.Name(); {
		case strings.HasSuffix(name, "-offset-checkpoint"):
			if err := check(v, path, log.DecodeOffsetCheckpoint); err != nil {
				return err
			}
		case name == "meta.properties":
			if err := check(v, path, readIdentity); err != nil {
				return err
			}
		case name == topic.ManifestFile, name == topic.ManifestFile+".prev":
			data, err := readSmall(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
			m, err := topic.DecodeManifest(data)
			if err != nil {
				v.damage(path, "%v", err)
			} else if v.manifest == nil || m.Generation > v.manifest.Generation {
				v.manifest = m
			}
		}
	}
	return nil
}

// readIdentity reads a meta.properties file: lines of name=value, a version among them. An engine makes a
// damaged one anew, with other ids.
func readIdentity(text []byte) (version string, err error) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return "", fmt.Errorf("line %q is not name=value", line)
		}
		if name == "version" {
			version = value
		}
	}
	if version == "" {
		return "", errors.New("it names no version")
	}
	return version, nil
}

// check reads a small file and decodes it. A file that is gone meanwhile is none of ours.
func check[T any](v *verifier, path string, decode func([]byte) (T, error)) error {
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := decode(data); err != nil {
		v.damage(path, "%v", err)
	}
	return nil
}

// missing tells partitions that the manifest has and the directory has not.
func (v *verifier) missing(dirs []string) {
	if v.manifest == nil {
		return
	}
	have := map[string]bool{}
	for _, dir := range dirs {
		have[filepath.Base(dir)] = true
	}
	for _, entry := range v.manifest.Topics {
		for n := range entry.Partitions {
			if name := entry.Name + "-" + strconv.Itoa(n); entry.State == topic.TopicReady && !have[name] {
				v.damage(filepath.Join(v.dir, name), "the manifest has this partition, the directory has not")
			}
		}
	}
}
