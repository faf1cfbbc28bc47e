package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/backup"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/scim"
	"sallyport/store"
	"sallyport/store/bolt"
)

// restorePlan says what a restore would change.
type restorePlan struct {
	File         string                    `json:"file"`
	Made         time.Time                 `json:"made,omitzero"`
	Revision     uint64                    `json:"revision"`
	Version      string                    `json:"version,omitempty"` // of the Sallyport that made the backup
	ComparedWith string                    `json:"compared_with"`
	Counts       map[string]map[string]int `json:"counts"` // by kind, then by change
	Changes      []plannedChange           `json:"changes"`
	Notes        []string                  `json:"notes"`
}

// plannedChange is one difference between the store in place and what a restore puts there.
type plannedChange struct {
	Kind   string `json:"kind"`   // user, group, membership, suspension, token or grant
	Change string `json:"change"` // added, removed, changed, or what stays in spite of the backup
	ID     string `json:"id"`
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
}

// tryRestore makes what a restore would put in place, in a folder of its own, and prints in what that differs.
func tryRestore(cmd *cobra.Command, file *config.File, options restoreOptions) error {
	place := newRestorePlace(file)
	dir, err := workFolder(filepath.Dir(place.part()))
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	former, against, notes, err := openCompared(cmd, place, dir)
	if err != nil {
		return err
	}
	defer former.close()
	made, err := makeRestored(cmd.Context(), filepath.Join(dir, "restored.db"), former.store, file, options, 0)
	if err != nil {
		return err
	}
	defer made.store.Close()
	plan := restorePlan{File: options.from, Made: made.source.Made, Revision: made.source.Revision, Version: made.source.Version, ComparedWith: against,
		Counts: map[string]map[string]int{}, Changes: []plannedChange{}, Notes: append(notes, made.notes...)}
	if plan.Changes, err = plannedChanges(cmd.Context(), file, former.store, made); err != nil {
		return err
	}
	for _, c := range plan.Changes {
		if plan.Counts[c.Kind] == nil {
			plan.Counts[c.Kind] = map[string]int{}
		}
		plan.Counts[c.Kind][c.Change]++
	}
	return plan.print(cmd)
}

// workFolder makes a folder for what is thrown away again: on the disk of the store, which has the space for it.
func workFolder(beside string) (string, error) {
	dir, err := os.MkdirTemp(beside, ".restore-dry-run-")
	if errors.Is(err, os.ErrNotExist) {
		dir, err = os.MkdirTemp("", "sallyport-restore-")
	}
	return dir, err
}

// openCompared opens the store in place, or a copy of it that the running server makes in dir.
func openCompared(cmd *cobra.Command, place restorePlace, dir string) (f formerStore, against string, notes []string, err error) {
	f, notes, err = place.former(cmd.Context())
	switch {
	case err == nil && f.store == nil:
		return f, "nothing", notes, nil
	case err == nil:
		return f, "the store in place", notes, nil
	case !errors.Is(err, store.ErrLocked):
		return f, "", nil, err
	}
	client, err := newControlClient(cmd)
	if err != nil {
		return f, "", nil, err
	}
	st, err := bolt.Open(filepath.Join(dir, "former.db"), bolt.Options{Init: true, Copy: true})
	if err != nil {
		return f, "", nil, err
	}
	err = client.send(cmd.Context(), http.MethodGet, "/backup", new(bytes.Buffer), func(resp *http.Response) error {
		if err := responseError(resp); err != nil {
			return err
		}
		r, err := backup.NewReader(resp.Body)
		if err == nil {
			err = backup.Load(cmd.Context(), st, r.Records())
		}
		if text := resp.Trailer.Get(backupError); text != "" {
			err = errors.New(text)
		}
		return err
	})
	if err != nil {
		return f, "", nil, errors.Join(fmt.Errorf("reading the store of the running server: %w", err), st.Close())
	}
	return formerStore{st}, "the running server", nil, nil
}

// maxPlanned is how many changes of one kind a table shows one by one.
const maxPlanned = 20

func (p *restorePlan) print(cmd *cobra.Command) error {
	t := table{heads: []string{"kind", "change", "name", "id", "detail"}, values: p}
	format, _ := cmd.Flags().GetString("output")
	shown := map[string]int{}
	for _, c := range p.Changes {
		group := c.Kind + " " + c.Change
		shown[group]++
		switch more := p.Counts[c.Kind][c.Change] - maxPlanned; {
		case format == "csv" || shown[group] <= maxPlanned:
			t.rows = append(t.rows, []string{c.Kind, c.Change, c.Name, c.ID, c.Detail})
		case shown[group] == maxPlanned+1:
			t.rows = append(t.rows, []string{c.Kind, c.Change, fmt.Sprintf("and %d more (-o json lists all)", more), "", ""})
		}
	}
	if format == "table" {
		for _, note := range p.Notes {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", printable(note))
		}
		if len(p.Changes) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s differs in nothing that is compared from %s\n", p.File, p.ComparedWith)
			return nil
		}
	}
	return printTable(cmd, t)
}

// holdings are what of a store is compared.
type holdings struct {
	directory *directory.Directory
	tokens    map[string]string // names by id
	grants    map[string]grant.Grant
}

func readHoldings(ctx context.Context, st store.Store, file *config.File) (h holdings, err error) {
	if h.directory, err = directory.Open(ctx, st, file.OIDC.UserAttribute); err != nil {
		return h, err
	}
	h.tokens, h.grants = map[string]string{}, map[string]grant.Grant{}
	err = st.View(ctx, func(r store.Reader) error {
		tokens, err := scim.ReadTokens(r)
		for _, t := range tokens {
			h.tokens[t.ID] = t.Name
		}
		open, failed := grant.ReadOpen(r)
		for _, g := range open {
			h.grants[g.ID] = g
		}
		return errors.Join(err, failed)
	})
	return h, err
}

// plannedChanges compares the former store, which may be nil, with the restored one.
func plannedChanges(ctx context.Context, file *config.File, former store.Store, made *restoredStore) (list []plannedChange, err error) {
	after, err := readHoldings(ctx, made.store, file)
	if err != nil {
		return nil, err
	}
	before := holdings{}
	if former != nil {
		if before, err = readHoldings(ctx, former, file); err != nil {
			return nil, err
		}
	}
	list = append(list, plannedUsers(before.directory, after.directory)...)
	for _, u := range made.changes.inactive {
		list = append(list, plannedChange{"user", "stays inactive", u.ID, u.UserName, "active in the backup; deactivated or deleted since"})
	}
	groups, err := plannedGroups(ctx, before.directory, after.directory)
	list = append(append(list, groups...), plannedNames("token", before.tokens, after.tokens)...)
	for _, t := range made.changes.tokensGone {
		list = append(list, plannedChange{"token", "stays revoked", t.ID, t.Name, "in the backup; revoked since, or not known to be valid"})
	}
	for _, g := range before.grants {
		list = append(list, plannedChange{"grant", "ended", g.ID, g.Person.UserName, "by the policy " + g.Policy + ", until " + g.Until.UTC().Format(time.RFC3339)})
	}
	if made.changes.revoked > 0 {
		list = append(list, plannedChange{"membership", "stays revoked", "", fmt.Sprintf("%d memberships", made.changes.revoked), "by reviews since"})
	}
	slices.SortStableFunc(list, func(a, b plannedChange) int {
		return cmp.Or(slices.Index(plannedKinds, a.Kind)-slices.Index(plannedKinds, b.Kind), strings.Compare(a.Change, b.Change), compareNames(a.Name, a.ID, b.Name, b.ID))
	})
	return list, err
}

var plannedKinds = []string{"user", "group", "membership", "suspension", "token", "grant"}

func compareNames(nameA, idA, nameB, idB string) int {
	return cmp.Or(strings.Compare(nameA, nameB), strings.Compare(idA, idB))
}

func usersOf(d *directory.Directory) map[string]*directory.User {
	users := map[string]*directory.User{}
	if d != nil {
		for _, u := range d.Snapshot() {
			users[u.ID] = u
		}
	}
	return users
}

func stateOfUser(u *directory.User) string {
	if u.Active {
		return "active"
	}
	return "inactive"
}

// plannedUsers compares users and their suspensions.
func plannedUsers(before, after *directory.Directory) (list []plannedChange) {
	old, restored := usersOf(before), usersOf(after)
	for id, u := range restored {
		former, ok := old[id]
		suspended := ok && former.Suspended != nil
		switch {
		case !ok:
			list = append(list, plannedChange{"user", "added", id, u.UserName, stateOfUser(u)})
		case former.Active != u.Active:
			list = append(list, plannedChange{"user", "changed", id, u.UserName, stateOfUser(former) + " → " + stateOfUser(u)})
		case former.UserName != u.UserName || former.ExternalID != u.ExternalID || !bytes.Equal(former.Document, u.Document):
			list = append(list, plannedChange{"user", "changed", id, u.UserName, "attributes"})
		}
		if u.Suspended != nil && !suspended {
			list = append(list, plannedChange{"suspension", "added", id, u.UserName, u.Suspended.Reason})
		}
	}
	for id, u := range old {
		if restored[id] == nil {
			list = append(list, plannedChange{"user", "removed", id, u.UserName, stateOfUser(u)})
		}
	}
	return list
}

// plannedNames compares things that have nothing but a name.
func plannedNames(kind string, before, after map[string]string) (list []plannedChange) {
	for id, name := range after {
		switch former, ok := before[id]; {
		case !ok:
			list = append(list, plannedChange{kind, "added", id, name, ""})
		case former != name:
			list = append(list, plannedChange{kind, "changed", id, name, former + " → " + name})
		}
	}
	for id, name := range before {
		if _, ok := after[id]; !ok {
			list = append(list, plannedChange{kind, "removed", id, name, ""})
		}
	}
	return list
}

// plannedGroups compares groups and their members, a group at a time.
func plannedGroups(ctx context.Context, before, after *directory.Directory) (list []plannedChange, err error) {
	names := func(d *directory.Directory) map[string]string {
		all := map[string]string{}
		if d != nil {
			for _, g := range d.Groups() {
				all[g.ID] = g.DisplayName
			}
		}
		return all
	}
	old, restored := names(before), names(after)
	list = plannedNames("group", old, restored)
	groups := maps.Clone(old)
	maps.Copy(groups, restored)
	for id, group := range groups {
		was, err := memberNames(ctx, before, id)
		if err != nil {
			return nil, err
		}
		is, err := memberNames(ctx, after, id)
		if err != nil {
			return nil, err
		}
		for _, c := range plannedNames("membership", was, is) {
			if c.Change == "changed" { // a name, of which the user's own row tells
				continue
			}
			c.Detail = "in the group " + group
			list = append(list, c)
		}
	}
	return list, nil
}

// memberNames returns the names of a group's members by their ids; none without a directory.
func memberNames(ctx context.Context, d *directory.Directory, group string) (names map[string]string, err error) {
	names = map[string]string{}
	if d == nil {
		return names, nil
	}
	err = d.View(ctx, func(tx *directory.Tx) error {
		for m, err := range tx.Members(group, "") {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			names[m.ID] = d.NameOf(m)
			if u, ok := d.ByID(m.ID); ok {
				names[m.ID] = u.UserName
			}
		}
		return nil
	})
	return names, err
}
