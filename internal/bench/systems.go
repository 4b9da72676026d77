package main

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// allSystems in the order of the tables: the machine, us, the peers.
func allSystems() []System {
	return []System{raw{}, raw{prewritten: true}, channel{}, quire{}, quireLog{}, tidwall{}, raftwal{}}
}

func systemNames() (names []string) {
	for _, sys := range allSystems() {
		names = append(names, sys.Name())
	}
	return names
}

func systemNamed(name string) (System, error) {
	for _, sys := range allSystems() {
		if sys.Name() == name {
			return sys, nil
		}
	}
	return nil, fmt.Errorf("no system %q: %s", name, strings.Join(systemNames(), ", "))
}

// peerVersions are those this program was built with.
func peerVersions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var list []string
	for _, m := range info.Deps {
		if slices.Contains([]string{"github.com/tidwall/wal", "github.com/hashicorp/raft-wal", "github.com/nats-io/nats-server/v2"}, m.Path) {
			list = append(list, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	return strings.Join(list, ", ")
}
