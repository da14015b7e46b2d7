package main

import (
	"os"
	"runtime"
	"sync"
)

const kept = 256 << 10

// leaks is what a mutant never gives back.
type leaks struct {
	mutex  sync.Mutex
	never  chan struct{} // nobody sends
	files  []*os.File
	memory [][]byte
}

func (l *leaks) add(mutant string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	switch mutant {
	case "goroutine-per-timeout":
		go waitForNobody(l.never)
	case "thread-per-timeout":
		go holdThread(l.never)
	case "fd-per-timeout":
		if file, err := os.Open("/etc/passwd"); err == nil {
			l.files = append(l.files, file)
		}
	case "heap-per-timeout":
		memory := make([]byte, kept)
		for i := range memory {
			memory[i] = 1
		}
		l.memory = append(l.memory, memory)
	}
}

func waitForNobody(never chan struct{}) { <-never }

func holdThread(never chan struct{}) {
	runtime.LockOSThread()
	<-never
}
