package admin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"sallyport/peers"
)

// Configuration is which configuration is in force, and what of the file is not.
type Configuration struct {
	Replica string    `json:"replica,omitempty"` // "" if this process alone uses its store
	Path    string    `json:"path"`
	SHA256  string    `json:"sha256"` // of the file that is in force
	Since   time.Time `json:"since"`
	By      Actor     `json:"by"`
	Text    string    `json:"text"` // YAML of which only what is known to be no secret is left

	OnDisk  FileOnDisk `json:"on_disk"`
	Refused *Refused   `json:"refused"`      // the last attempt to put the file in force, if it failed
	Restart []string   `json:"need_restart"` // changed keys that take effect only after a restart
}

// FileOnDisk is the file as it is now.
type FileOnDisk struct {
	SHA256 string     `json:"sha256,omitempty"`
	Err    string     `json:"error,omitempty"` // why it cannot be read
	Diff   []DiffLine `json:"diff,omitempty"`  // from what is in force to the file, without secrets; none if they are the same
	Cut    bool       `json:"cut,omitempty"`   // Diff is not all
}

// Same reports whether the file is byte for byte the one in force.
func (c Configuration) Same() bool { return c.OnDisk.Err == "" && c.OnDisk.SHA256 == c.SHA256 }

// DiffLine is a line that only one of two texts has, or one near such a line.
type DiffLine struct {
	Sign string `json:"sign"` // "-" only before, "+" only after, " " in both, "@" for lines that are left out
	Text string `json:"text"`
}

// Refused is an attempt to put a file in force that failed.
type Refused struct {
	Time   time.Time `json:"time"`
	By     Actor     `json:"by"`
	SHA256 string    `json:"sha256,omitempty"` // of the file that was refused
	Faults Faults    `json:"faults,omitempty"` // without secrets
	Err    string    `json:"error,omitempty"`  // if it was not for mistakes in the file
}

// ConfigurationSource tells what a server knows of its configuration. By is set by [Admin.Configuration].
type ConfigurationSource func(context.Context) (Configuration, error)

// reloads remember who put the configuration in force, and who could not.
type reloads struct {
	mu       sync.Mutex // guards the fields below
	by       Actor      // of the last that succeeded; zero: none since the start
	refused  Actor
	failedAt time.Time // zero: the last succeeded
}

func (r *reloads) note(actor Actor, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.by, r.failedAt = actor, time.Time{}
	} else {
		r.refused, r.failedAt = actor, time.Now().UTC()
	}
}

// errNoConfiguration means that no server runs that has a configuration in force.
var errNoConfiguration = errors.New("no server is running, so that no configuration is in force")

// Configuration returns which configuration is in force in this process, since when and by whom.
func (a *Admin) Configuration(ctx context.Context, _ Actor) (Configuration, error) {
	if a.configuration == nil {
		return Configuration{}, errNoConfiguration
	}
	c, err := a.configuration(ctx)
	if err != nil {
		return c, err
	}
	a.reloads.mu.Lock()
	defer a.reloads.mu.Unlock()
	if c.By = a.reloads.by; c.By == (Actor{}) {
		c.By = System("start")
	}
	if c.Refused != nil {
		c.Refused.By = a.reloads.refused
	}
	return c, nil
}

// The questions to every replica about what only its memory has.
const (
	askConfiguration = "configuration"
	askTrial         = "trial"
)

// handleQuestions has this process reply to questions about its configuration and the changes that were tried in it.
func (a *Admin) handleQuestions() {
	if a.peers == nil {
		return
	}
	handle(a.peers, askConfiguration, func(ctx context.Context, _ struct{}) (any, error) { return a.Configuration(ctx, System("replica")) })
	handle(a.peers, askTrial, func(_ context.Context, id string) (any, error) { return a.OwnTrial(id) })
}

// Configurations returns which configuration is in force in each replica, and the replicas that did not reply.
func (a *Admin) Configurations(ctx context.Context, actor Actor) (all []Configuration, missing []Missing, err error) {
	if a.peers == nil {
		own, err := a.Configuration(ctx, actor)
		return []Configuration{own}, nil, err
	}
	values, silent := peers.Values[Configuration](a.peers.Ask(ctx, askConfiguration, struct{}{}))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		c := values[name]
		c.Replica = name
		all = append(all, c)
	}
	for _, r := range silent {
		missing = append(missing, Missing{r.Replica, r.Err})
	}
	return all, missing, nil
}
