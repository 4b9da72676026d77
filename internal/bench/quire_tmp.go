package main

import "errors"

type quire struct{}
type quireLog struct{}

var errNo = errors.New("none")

func (quire) Name() string                           { return "quire" }
func (quireLog) Name() string                        { return "quire-log" }
func (quire) Note() string                           { return "" }
func (quireLog) Note() string                        { return "" }
func (quire) Open(string, Options) (Store, error)    { return nil, errNo }
func (quireLog) Open(string, Options) (Store, error) { return nil, errNo }
