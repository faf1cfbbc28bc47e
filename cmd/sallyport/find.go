package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/directory"
)

func searchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "search TEXT",
		Short: "Find users, groups, routes and requests for access by a part of a name, or by a number",
		Long: "Find users, groups, routes and requests for access by a part of a name, or by a number. Case and accents do not count. The number on\n" +
			"the page of a denial is named as a decision, which `sallyport explain --request` shows.",
		Example: "  sallyport search lovelace",
		Args:    cobra.MinimumNArgs(1),
	}
	limit := c.Flags().Int("limit", 20, "`HOW` many of each kind are listed at most")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var hits []admin.Hit
		query := url.Values{"text": {strings.Join(args, " ")}, "limit": {strconv.Itoa(*limit)}}
		if err := callGet(cmd, "/search?"+query.Encode(), &hits); err != nil {
			return err
		}
		t := table{heads: []string{"kind", "id", "title", "note"}, values: hits}
		for _, hit := range hits {
			t.rows = append(t.rows, []string{string(hit.Kind), hit.ID, hit.Title, hit.Note})
		}
		return printTable(cmd, t)
	}
	return c
}

// callGet calls GET path on the control socket.
func callGet(cmd *cobra.Command, path string, into any) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	return client.call(cmd.Context(), http.MethodGet, path, nil, into)
}

// findUsersCommand adds the flags of a search to the command that lists users.
func findUsersCommand(c *cobra.Command) *cobra.Command {
	return findCommand(c, "a state: active, inactive, suspended, stale (inactive for 30 days) or damaged", func(cmd *cobra.Command, query url.Values) error {
		var found admin.FoundUsers
		if err := callGet(cmd, "/users?"+query.Encode(), &found); err != nil {
			return err
		}
		t := table{heads: append(userHeads(), "groups", "changed"), values: found.Users}
		for _, u := range found.Users {
			t.rows = append(t.rows, append(userRow(u.User), strconv.Itoa(u.Groups), formatTime(&u.Changed)))
		}
		noteMore(cmd, len(found.Users), found.Total)
		return printTable(cmd, t)
	})
}

// findGroupsCommand adds the flags of a search to the command that lists groups.
func findGroupsCommand(c *cobra.Command) *cobra.Command {
	return findCommand(c, "a state: named (by a rule), empty or stale (empty, named by no rule, unchanged for 30 days)", func(cmd *cobra.Command, query url.Values) error {
		var found admin.FoundGroups
		if err := callGet(cmd, "/groups?"+query.Encode(), &found); err != nil {
			return err
		}
		t := table{heads: append(groupHeads(), "named", "changed"), values: found.Groups}
		for _, g := range found.Groups {
			t.rows = append(t.rows, append(groupRow(g.Group), yesNo(g.Named), formatTime(&g.Changed)))
		}
		noteMore(cmd, len(found.Groups), found.Total)
		return printTable(cmd, t)
	})
}

func findCommand(c *cobra.Command, states string, find func(*cobra.Command, url.Values) error) *cobra.Command {
	text := c.Flags().String("search", "", "only those with `TEXT` in a name, the best first")
	state := c.Flags().String("state", "", "only those in a `STATE`; "+states)
	all := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *text == "" && *state == "" {
			return all(cmd, args)
		}
		return find(cmd, url.Values{"text": {*text}, "state": {*state}})
	}
	return c
}

// noteMore says that a search found more than it lists.
func noteMore(cmd *cobra.Command, listed, total int) {
	if listed < total {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: these are %d of %d; search for more of the name\n", listed, total)
	}
}

func historyCommand(use, short, example, kind string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: "  sallyport " + example, Args: cobra.ExactArgs(1),
		Long: short + ", the newest first, as far back as the history goes. One who is deleted is named by their id."}
	limit := c.Flags().Int("limit", 100, "`HOW` many changes are listed at most")
	before := c.Flags().Uint64("before", 0, "only changes before a `REVISION`")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var changes admin.Changes
		query := url.Values{"limit": {strconv.Itoa(*limit)}, "before": {strconv.FormatUint(*before, 10)}}
		if err := callGet(cmd, "/"+kind+"/"+url.PathEscape(args[0])+"/changes?"+query.Encode(), &changes); err != nil {
			return err
		}
		t := table{heads: []string{"time", "revision", "by", "what"}, values: changes}
		for _, change := range changes.Changes {
			for _, what := range change.What {
				t.rows = append(t.rows, []string{change.Time.UTC().Format(time.RFC3339), strconv.FormatUint(change.Revision, 10),
					cmp.Or(strings.TrimSpace(change.By.Kind+" "+change.By.Name), "not recorded"), what.String()})
			}
		}
		if changes.Next > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: there may be earlier ones; --before %d lists them\n", changes.Next)
		}
		return printTable(cmd, t)
	}
	return c
}

func (c *control) users(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	query := r.URL.Query()
	if !query.Has("text") && !query.Has("state") {
		return c.admin.Users(ctx, actor)
	}
	return c.admin.FindUsers(ctx, actor, admin.UserQuery{Text: query.Get("text"), State: admin.UserState(query.Get("state"))})
}

func (c *control) groupList(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	query := r.URL.Query()
	if !query.Has("text") && !query.Has("state") {
		return c.admin.Groups(ctx, actor)
	}
	return c.admin.FindGroups(ctx, actor, admin.GroupQuery{Text: query.Get("text"), State: admin.GroupState(query.Get("state"))})
}

func (c *control) search(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		return nil, errors.New("at least 1 and at most 1000 of each kind can be listed")
	}
	return c.admin.Search(ctx, actor, r.URL.Query().Get("text"), limit)
}

func (c *control) userChanges(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	name := r.PathValue("user")
	id, err := c.admin.FindUser(ctx, actor, name)
	return c.changes(ctx, actor, r, name, id, err)
}

func (c *control) groupChanges(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	name := r.PathValue("group")
	g, err := c.admin.Group(ctx, actor, name)
	return c.changes(ctx, actor, r, name, g.ID, err)
}

// historyTime bounds for how long one command looks for changes.
const historyTime = 10 * time.Second

// changes responds with the changes of what has an id. If nothing was found by the name, that may be the id of what is deleted.
func (c *control) changes(ctx context.Context, actor admin.Actor, r *http.Request, name, id string, notFound error) (any, error) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 {
		return nil, errors.New("at least one change must be listed")
	}
	before, err := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the revision: %w", err)
	}
	if notFound == nil {
		name = id
	}
	changes, err := c.admin.Changes(ctx, actor, name, directory.HistoryQuery{Before: before, Limit: limit, Within: historyTime})
	if notFound != nil && (errors.Is(err, directory.ErrNotFound) || err == nil && len(changes.Changes) == 0) {
		return nil, notFound
	}
	return changes, err
}
