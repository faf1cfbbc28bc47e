package sink

import "time"

// Status is how a sink is doing.
type Status struct {
	Name  string        `json:"name"`
	Lines uint64        `json:"lines"` // on the disk and not sent yet
	Lag   time.Duration `json:"lag"`   // nanoseconds: the age of the oldest line that is being sent
	Lost  uint64        `json:"lost"`  // lines since the start that are never sent
	Fault *Fault        `json:"fault"` // the last attempt that failed; nil: none did since the start
}

// Fault is why an attempt to send failed.
type Fault struct {
	Time      time.Time `json:"time"`
	Error     string    `json:"error"`
	Recovered bool      `json:"recovered"` // whether an attempt has succeeded since
}

// Status returns how each sink is doing, in the order of the configuration.
func (s *Sinks) Status() []Status {
	list := []Status{}
	for _, k := range s.inForce() {
		lines, age := k.lag(time.Now())
		list = append(list, Status{Name: k.name, Lines: lines, Lag: age, Lost: k.lost.Load(), Fault: k.fault.Load()})
	}
	return list
}
