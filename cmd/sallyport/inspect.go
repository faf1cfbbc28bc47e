package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/admin"
	"sallyport/console/pins"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/listen"
	"sallyport/peers"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store"
)

const (
	inspectEvery = time.Hour
	maxFaults    = 20 // that one inspection tells one by one
)

// inspection is what a look at every record of the store has found.
type inspection struct {
	Records int      `json:"records"`
	Count   int      `json:"count"`  // of the faults
	Faults  []string `json:"faults"` // the first of them
}

func (i *inspection) fault(format string, args ...any) {
	i.Count++
	if len(i.Faults) < maxFaults {
		i.Faults = append(i.Faults, fmt.Sprintf(format, args...))
	}
}

// err returns the faults as an error, or nil.
func (i *inspection) err() error {
	if i.Count == 0 {
		return nil
	}
	var all []error
	for _, fault := range i.Faults {
		all = append(all, errors.New(fault))
	}
	if more := i.Count - len(i.Faults); more > 0 {
		all = append(all, fmt.Errorf("and %d more", more))
	}
	return errors.Join(all...)
}

// inspect looks at every record of one revision. A record that is damaged, that no package knows, or that does not fit to
// others is a fault, even if all it does is to deny somebody something.
func inspect(ctx context.Context, st store.Store) (found inspection, err error) {
	found.Faults = []string{}
	err = st.View(ctx, func(r store.Reader) error {
		users := directory.NewInspection()
		owners := owners(users)
		for e, err := range r.Scan(nil, nil) {
			if found.Records++; found.Records%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			switch {
			case errors.Is(err, store.ErrDamaged):
				found.fault("the record at %s is damaged: its checksum does not match", keyText(e.Key))
			case err != nil:
				return err
			default:
				found.ask(owners, e)
			}
		}
		for _, fault := range users.Finish() {
			found.fault("%v", fault)
		}
		return nil
	})
	return found, err
}

// owners returns what looks at the records of each package that keeps some.
func owners(users *directory.Inspection) []func(store.Entry) (bool, error) {
	return []func(store.Entry) (bool, error){users.Record, scim.Inspect, session.Inspect, grant.Inspect, listen.Inspect, peers.Inspect, pins.Inspect, inspectOwn}
}

// ask asks the owner of a record what is wrong with it.
func (i *inspection) ask(owners []func(store.Entry) (bool, error), e store.Entry) {
	for _, owner := range owners {
		ours, err := owner(e)
		if err != nil {
			i.fault("the record at %s cannot be read: %v", keyText(e.Key), err)
		}
		if ours {
			return
		}
	}
	i.fault("the key %s is unknown", keyText(e.Key))
}

// inspectOwn looks at the records of this package.
func inspectOwn(e store.Entry) (ours bool, err error) {
	issuer, ours := bytes.CutPrefix(e.Key, []byte(issuerKeys))
	if bytes.HasPrefix(e.Key, []byte(auditKeys)) {
		return true, inspectAuditKey(e)
	}
	if bytes.HasPrefix(e.Key, []byte(replicaRecords)) {
		return true, validJSON(e.Value)
	}
	if !ours && string(e.Key) != copyKey && string(e.Key) != auditEndKey && string(e.Key) != store.UnfinishedKey {
		return false, nil
	}
	if digest, failed := hex.DecodeString(string(issuer)); ours && (failed != nil || len(digest) != 32) || !json.Valid(e.Value) {
		return true, errors.New("the record is not what was written")
	}
	return true, nil
}

// validJSON returns an error if a value is none.
func validJSON(value []byte) error {
	if !json.Valid(value) {
		return errors.New("the record is not what was written")
	}
	return nil
}

func inspectAuditKey(e store.Entry) error {
	var k auditKey
	if err := json.Unmarshal(e.Value, &k); err != nil {
		return err
	}
	if auditKeys+k.ID != string(e.Key) {
		return errors.New("the record is that of another key")
	}
	return k.check()
}

// keyText returns a key as text: ids and other bytes in hexadecimal, behind the prefix.
func keyText(key []byte) string {
	slash := bytes.IndexByte(key, '/') + 1
	for _, b := range key {
		if b < ' ' || b > '~' {
			return fmt.Sprintf("%q %x", key[:slash], key[slash:])
		}
	}
	return fmt.Sprintf("%q", key)
}

// inspector inspects the store while the server runs.
type inspector struct {
	store  store.Store
	log    *slog.Logger
	faults atomic.Int64 // of the last inspection
}

// Run inspects the store now and every hour, until ctx ends.
func (i *inspector) Run(ctx context.Context) error {
	tick := time.NewTicker(inspectEvery)
	defer tick.Stop()
	for {
		i.inspect(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (i *inspector) inspect(ctx context.Context) {
	found, err := inspect(ctx, i.store)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		i.log.Error("the store cannot be inspected", "err", err)
		found.Count = max(1, found.Count)
	}
	for _, fault := range found.Faults {
		i.log.Error("a record of the store is not as it should be; what it is about may be denied", "fault", fault)
	}
	if found.Count > 0 {
		i.log.Error("the store is not sound: run `sallyport store check` with the server stopped, and restore a backup", "faults", found.Count)
	}
	i.faults.Store(int64(found.Count))
}

// Collectors returns the metric of what was found.
func (i *inspector) Collectors() []prometheus.Collector {
	return []prometheus.Collector{prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_store_faults",
		Help: "Records of the store that are damaged, unknown or do not fit together, at the last look at all of them."},
		func() float64 { return float64(i.faults.Load()) })}
}

// inspectNow inspects the store for an operator.
func (c *control) inspectNow(ctx context.Context, _ admin.Actor) (inspection, error) {
	return inspect(ctx, c.store)
}
