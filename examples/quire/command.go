package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/quirelog/quire/topic"
)

// A tool is one run of the program.
type tool struct {
	ctx    context.Context // ends at an interrupt
	stdin  io.Reader
	stdout *bufio.Writer // flushed at the end, and while consume follows
	stderr io.Writer
}

// A command is a word of the command line and what it does.
type command struct {
	name  string
	about string
	run   func(t *tool, name string, args []string) error
}

func commands() []command {
	return []command{
		{"topics", "list, create, alter and delete topics", (*tool).topics},
		{"describe", "settings, offsets and sizes of topics", (*tool).describe},
		{"produce", "append lines of standard input as records", (*tool).produce},
		{"consume", "print records as text or JSON", (*tool).consume},
		{"dump", "print what is in a file of a directory", (*tool).dump},
		{"verify", "check everything in a directory", (*tool).verify},
		{"repair", "make a damaged directory whole again", (*tool).repair},
		{"rebuild-index", "make indexes and all that is derived anew", (*tool).rebuildIndex},
		{"scrub", "read everything at a bounded rate", (*tool).scrub},
		{"retain", "remove what need not be kept", (*tool).retain},
		{"compact", "keep the newest record of each key", (*tool).compact},
		{"backup", "copy a directory, by hard links where it can", (*tool).backup},
		{"restore", "make a directory out of a backup", (*tool).restore},
		{"perf", "measure producing and consuming", (*tool).perf},
	}
}

// Errors that are not about the work itself.
var (
	errUsage  = errors.New("usage")  // the command line is not understood; it was told
	errDamage = errors.New("damage") // something is wrong with the data; it was told
	errHelp   = flag.ErrHelp         // help was asked for; it was given
)

// status tells the error, if it was not told yet, and gives the exit status.
func (t *tool) status(err error) int {
	switch {
	case err == nil, errors.Is(err, errHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case !errors.Is(err, errDamage):
		t.tellFault("quire", err)
	}
	return 1
}

// tellFault tells what went wrong, in one line.
func (t *tool) tellFault(name string, fault any) {
	lines := strings.FieldsFunc(fmt.Sprint(fault), func(r rune) bool { return r == '\n' })
	fmt.Fprintf(t.stderr, "%s: %s\n", name, strings.Join(lines, "; "))
}

// choose runs the command that the first argument names.
func (t *tool) choose(name string, list []command, args []string) error {
	if len(args) > 0 {
		for _, c := range list {
			if c.name == args[0] {
				return c.run(t, name+" "+c.name, args[1:])
			}
		}
	}
	switch {
	case len(args) == 0:
		return t.refuse(name, "no command")
	case !slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]):
		return t.refuse(name, fmt.Sprintf("no command %q", args[0]))
	}
	fmt.Fprintf(t.stdout, "usage: %s COMMAND [flags] [arguments]\n\n", name)
	for _, c := range list {
		fmt.Fprintf(t.stdout, "  %-13s %s\n", c.name, c.about)
	}
	fmt.Fprintf(t.stdout, "\n\"%s COMMAND -h\" tells the flags. Exit status: 0 done, 1 failed or damage found, 2 wrong usage.\n", name)
	return errHelp
}

// refuse tells a mistake on the command line, and where the right usage is told.
func (t *tool) refuse(name string, fault any) error {
	t.tellFault(name, fmt.Sprintf("%v; see %s -h", fault, name))
	return errUsage
}

// flags makes a command's flag set; arguments is what follows the flags, in words.
func (t *tool) flags(name, arguments, about string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard) // what it tells of a fault is told in one line
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: %s\n\n%s\n\n", strings.TrimSpace(name+" [flags] "+arguments), about)
		f.PrintDefaults()
	}
	return f
}

// parse reads the flags, which may also stand behind the arguments, and returns the arguments: at least least, and at most most of them
// (any number if most is negative).
func (t *tool) parse(f *flag.FlagSet, args []string, least, most int) ([]string, error) {
	var rest []string
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			f.SetOutput(t.stdout)
			f.Usage()
			return nil, errHelp
		} else if err != nil {
			return nil, t.refuse(f.Name(), err)
		}
		if f.NArg() == 0 {
			break
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
	if len(rest) < least || most >= 0 && len(rest) > most {
		return nil, t.misuse(f, "%d arguments", len(rest))
	}
	return rest, nil
}

// misuse tells a mistake on the command line.
func (t *tool) misuse(f *flag.FlagSet, format string, args ...any) error {
	return t.refuse(f.Name(), fmt.Sprintf(format, args...))
}

// dirFlag is the directory of topics.
func dirFlag(f *flag.FlagSet) *string {
	dir := os.Getenv("QUIRE_DIR")
	if dir == "" {
		dir = "."
	}
	return f.String("dir", dir, "the `directory` that holds the topics; default from QUIRE_DIR")
}

// settingFlags is a flag that may be given more than once: name=value.
type settingFlags []topic.TopicOption

func (s *settingFlags) String() string { return "" }

// Set reads one name=value.
func (s *settingFlags) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("not in the form name=value")
	}
	*s = append(*s, topic.Set(name, value))
	return nil
}

// withData is withEngine for a directory of topics that must be there.
func (t *tool) withData(dir string, f func(*topic.Engine) error, opts ...topic.Option) error {
	return t.withEngine(dir, f, append(opts, topic.MustExist())...)
}

// withEngine opens the directory, making it if there is none, calls f and closes it again. An engine opened for reading takes no lock and
// changes nothing.
func (t *tool) withEngine(dir string, f func(*topic.Engine) error, opts ...topic.Option) error {
	eng, err := topic.Open(dir, opts...)
	if err != nil {
		return err
	}
	return errors.Join(f(eng), eng.Close())
}

// reading is withEngine for commands that only read.
func (t *tool) reading(dir string, f func(*topic.Engine) error) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	return t.withEngine(dir, f, topic.ReadOnlyMode())
}

// existing gives a topic that must be there.
func (t *tool) existing(eng *topic.Engine, name string) (*topic.Topic, error) {
	list, err := eng.Topics(t.ctx, topic.WithInternal())
	if err != nil {
		return nil, err
	}
	for _, have := range list {
		if have.Name() == name {
			return have, nil
		}
	}
	return nil, fmt.Errorf("%w: topic %q in %s", topic.ErrNotFound, name, eng.Dir())
}
