package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/peers"
)

const (
	maxTrials     = 10        // that are remembered
	trialAge      = time.Hour // after which a trial is forgotten
	trialRecord   = 7 * 24 * time.Hour
	trialReading  = 2 * time.Minute // for reading the record
	maxTrialNames = 200             // in each list of people
	allTrialNames = 5_000           // in all of them
	maxTrialFlips = 500
	maxTrialLines = 500 // of findings, and of results of tests
)

// ErrTrialRuns means that rules are being tried already.
var ErrTrialRuns = errors.New("other rules are being tried at the moment; wait until that has ended")

// ErrNoTrial means that there is no trial with an id: it was forgotten, or another replica has it.
var ErrNoTrial = errors.New("there is no such trial; the last ones are remembered for an hour, and by the server that made them")

// Trial is what other rules would change. Its parts become known one after the other.
type Trial struct {
	ID    string    `json:"id"`
	By    Actor     `json:"by"`
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended,omitzero"`  // zero: it runs
	Err   string    `json:"error,omitempty"` // why it ended before it was complete

	Findings    []Fault         `json:"findings"`
	Tests       int             `json:"tests"` // how many there are
	Failed      []access.Result `json:"failed"`
	FailedCount int             `json:"failed_count"`
	Changes     []access.Change `json:"changes"`
	Compared    bool            `json:"compared"` // Changes are complete
	Replayed    *Replayed       `json:"replayed"` // nil: not yet
}

// Runs reports whether more becomes known.
func (t Trial) Runs() bool { return t.Ended.IsZero() }

// trials are those that are remembered, the newest last.
type trials struct {
	mu   sync.Mutex // guards list and what its elements point to
	list []*Trial
}

// TryRules begins to find out what the rules in text would change, and returns the id of the trial. text is a whole
// configuration, or the parts of one that replace those in force, such as policies. Nothing is put in force or written. If text
// has mistakes, the error is a [Faults].
func (a *Admin) TryRules(_ context.Context, actor Actor, text string) (id string, err error) {
	switch {
	case actor.Role == audit.RoleAuditor:
		return "", ErrAuditor
	case a.parse == nil:
		return "", errNoRules
	}
	rules, err := a.parse(text)
	if err != nil {
		return "", err
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	t := &Trial{ID: hex.EncodeToString(random[:]), By: actor, Begun: time.Now().UTC()}
	if err := a.trials.add(t); err != nil {
		return "", err
	}
	go a.try(t, rules) //nolint:gosec // goes on after the request
	return t.ID, nil
}

// add remembers a trial, unless another one runs.
func (s *trials) add(t *Trial) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.list, func(other *Trial) bool { return other.Runs() }) {
		return ErrTrialRuns
	}
	s.list = slices.DeleteFunc(s.list, func(other *Trial) bool { return time.Since(other.Ended) > trialAge })
	s.list = append(s.list[max(0, len(s.list)+1-maxTrials):], t)
	return nil
}

// Trial returns what is known of a trial by now, whichever replica has it.
func (a *Admin) Trial(ctx context.Context, _ Actor, id string) (Trial, error) {
	t, err := a.OwnTrial(id)
	if err == nil || a.peers == nil || !trialID().MatchString(id) {
		return t, err
	}
	found, _ := peers.Values[Trial](a.peers.Ask(ctx, askTrial, id))
	for _, t := range found {
		return t, nil
	}
	return Trial{}, ErrNoTrial
}

var trialID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{32}$`) })

// OwnTrial returns what is known of a trial that this replica has.
func (a *Admin) OwnTrial(id string) (Trial, error) {
	a.trials.mu.Lock()
	defer a.trials.mu.Unlock()
	for _, t := range a.trials.list {
		if t.ID == id {
			return *t, nil
		}
	}
	return Trial{}, ErrNoTrial
}

// Trials returns the trials that this replica remembers, the newest first.
func (a *Admin) Trials(context.Context, Actor) (list []Trial) {
	a.trials.mu.Lock()
	defer a.trials.mu.Unlock()
	for _, t := range slices.Backward(a.trials.list) {
		list = append(list, *t)
	}
	return list
}

// note changes what is known of a trial. What its fields refer to does not change after that.
func (s *trials) note(t *Trial, change func(*Trial)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(t)
}

// try finds out everything about rules, the quick parts first.
func (a *Admin) try(t *Trial, r Rules) {
	ctx, stop := context.WithTimeout(context.Background(), mostTime)
	defer stop()
	err := a.tryParts(ctx, t, r)
	a.trials.note(t, func(t *Trial) {
		if t.Ended = time.Now().UTC(); err != nil {
			t.Err = err.Error()
		}
	})
}

func (a *Admin) tryParts(ctx context.Context, t *Trial, r Rules) (err error) {
	defer func() {
		if p := recover(); p != nil { // what is tried is not in force, and must not end the server
			a.log.Error("trying rules failed", "err", p)
			err = fmt.Errorf("the rules cannot be tried: %v", p)
		}
	}()
	if err := a.tryOnDirectory(ctx, t, r); err != nil {
		return err
	}
	a.unused.reading.Lock()
	defer a.unused.reading.Unlock()
	reading, stop := context.WithTimeout(ctx, trialReading)
	defer stop()
	replayed, err := a.Replay(reading, t.By, r, RecordQuery{Since: t.Begun.Add(-trialRecord)}, maxTrialFlips)
	if err != nil {
		return fmt.Errorf("reading the record: %w", err)
	}
	a.trials.note(t, func(t *Trial) { t.Replayed = &replayed })
	return nil
}

// tryOnDirectory runs the tests, and compares the rules with those in force.
func (a *Admin) tryOnDirectory(ctx context.Context, t *Trial, r Rules) error {
	a.computing.Lock()
	defer a.computing.Unlock()
	results := a.RunTests(ctx, t.By, r, r.Tests)
	failed := access.Failed(results)
	a.trials.note(t, func(t *Trial) {
		t.Tests, t.FailedCount, t.Failed = len(results), len(failed), failed[:min(len(failed), maxTrialLines)]
	})
	var findings []Fault
	for _, f := range a.Lint(ctx, t.By, r) {
		if len(findings) < maxTrialLines {
			findings = append(findings, r.place(f))
		}
	}
	a.trials.note(t, func(t *Trial) { t.Findings = findings })
	var before []*access.Route
	if a.rules != nil {
		before = a.rules().Routes
	}
	changes, err := access.DiffAtMost(ctx, maxTrialNames, before, r.Routes, a.directory.Users(), a.scope())
	if err != nil {
		return fmt.Errorf("comparing with the rules in force took more than %s", mostTime)
	}
	shortenNames(changes, allTrialNames)
	a.trials.note(t, func(t *Trial) { t.Changes, t.Compared = changes, true })
	return nil
}

// shortenNames leaves at most so many names in changes, the same number in each list.
func shortenNames(changes []access.Change, limit int) {
	each := max(3, limit/max(1, 3*len(changes)))
	for i := range changes {
		for _, names := range []*[]string{&changes[i].Gained, &changes[i].Lost, &changes[i].Changed} {
			*names = (*names)[:min(len(*names), each)]
		}
	}
}
