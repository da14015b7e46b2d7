package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"sync"
	"time"
)

// The peer is down when no call has succeeded for so long, and so many have failed.
const (
	downAfter         = time.Second
	downAfterFailures = 5
	// What the mutant takes for a failure.
	merelySlow = 20 * time.Millisecond
)

// dependency keeps in mind how calls went. It is safe for concurrent use.
type dependency struct {
	name string

	mutex        sync.Mutex
	failures     int // since the last success
	failingSince time.Time
	lastCall     time.Time
	lastSlow     time.Time
	lastError    error
	down         bool
}

func newDependency(name string) *dependency { return &dependency{name: name} }

func (p *dependency) note(err error, took time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := time.Now()
	p.lastCall = now
	if took > merelySlow {
		p.lastSlow = now
	}
	if p.lastError = err; err == nil {
		p.failures = 0
		return
	}
	if p.failures++; p.failures == 1 {
		p.failingSince = now
	}
}

// look says whether the state has changed, and to what.
func (p *dependency) look() (changed, down bool, err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	was := p.down
	if p.failures == 0 {
		p.down = false
	} else if p.failures >= downAfterFailures && time.Since(p.failingSince) >= downAfter {
		p.down = true
	}
	return p.down != was, p.down, p.lastError
}

func (p *dependency) isDown() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.down
}

func (p *dependency) isForgotten() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.down && time.Since(p.lastCall) > time.Second
}

func (p *dependency) wasSlow() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return time.Since(p.lastSlow) < time.Second
}

// watchDependency tells in the log when the peer fails and when it is back, and asks it when nobody else does.
func (d *depot) watchDependency(stop context.Context) {
	for sleep(stop, 100*time.Millisecond) == nil {
		changed, down, err := d.peerIs.look()
		switch {
		case !changed || d.is("silent"):
		case down:
			log.Printf("dependency failed: %s: %v", d.peerIs.name, err)
		default:
			log.Printf("dependency back: %s", d.peerIs.name)
		}
		if d.peerIs.isForgotten() {
			ctx, cancel := context.WithTimeout(stop, d.deadline)
			_, _ = d.guardedCall(ctx, "")
			cancel()
		}
	}
}

func (d *depot) healthz(w http.ResponseWriter, _ *http.Request) {
	lies := d.is("healthz-lies") || d.is("gray")
	switch {
	case d.stopping.Load():
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	case d.peerIs.isDown() && !lies, d.is("healthz-panics-early") && d.peerIs.wasSlow():
		http.Error(w, d.peerIs.name+" failed", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}
