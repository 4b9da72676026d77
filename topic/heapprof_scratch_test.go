package topic
import ("testing";"runtime/pprof";"os";"runtime")
func TestHeapProf(t *testing.T) {
	runtime.MemProfileRate = 1
	e, err := Open(t.TempDir(), MaxOpenFiles(16))
	if err != nil { t.Fatal(err) }
	defer e.Close()
	tp := openTopic(t, e, "many", Partitions(500), quick())
	for n := range int32(500) { partitionOf(t, tp, n).High() }
	runtime.GC(); runtime.GC()
	f, _ := os.Create("/tmp/heap.out"); pprof.WriteHeapProfile(f); f.Close()
}
