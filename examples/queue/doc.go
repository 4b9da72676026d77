// Queue is a service with a work queue: thumbnails of uploaded pictures, made by several workers, with retries and dead letters.
//
//	go run ./examples/queue [-dir uploads] [-workers 4]
//
// Each run uploads some pictures and works until all are done. One file is not a picture: it is rejected, and lies among the dead letters
// at once. One disk is slow to mount: its picture fails twice, and succeeds. One picture is broken: it uses up its attempts. At the end the
// dead letters are printed, with what was said of each attempt, and the broken picture, mended meanwhile, is put back by Redrive.
//
// Stop it at any time, also by kill -9, and run it again: it goes on with what was not done.
//
//	main.go    the program: flags, engine, queue    thumbnails.go    the service: what a worker does, who uploads, what died
package main
