package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/live"
	"sallyport/peers"
)

// The questions that replicas ask each other about live requests.
const (
	askLive    = "live/list"
	askLives   = "live/lists" // of several filters
	askEndLive = "live/end"
)

// endLiveArgs asks a replica to end live requests.
type endLiveArgs struct {
	Filter live.Filter `json:"filter"`
	By     admin.Actor `json:"by"`
}

// liveRequests returns the live requests of this replica and of the others. It has this one reply to what others ask.
func (s *server) liveRequests() admin.LiveRequests {
	all := s.components.peers
	all.Handle(askLive, func(_ context.Context, args json.RawMessage) (any, error) {
		var f live.Filter
		if err := json.Unmarshal(args, &f); err != nil {
			return nil, err
		}
		return s.proxy.Live(f), nil
	})
	all.Handle(askLives, func(_ context.Context, args json.RawMessage) (any, error) {
		var filters []live.Filter
		if err := json.Unmarshal(args, &filters); err != nil {
			return nil, err
		}
		return s.proxy.LiveEach(filters), nil
	})
	all.Handle(askEndLive, func(_ context.Context, args json.RawMessage) (any, error) {
		var end endLiveArgs
		if err := json.Unmarshal(args, &end); err != nil {
			return nil, err
		}
		return s.proxy.EndLive(end.Filter, end.By), nil
	})
	return admin.LiveRequests{
		List: func(ctx context.Context, f live.Filter) live.List {
			ask := all.Ask
			if f.ID != "" { // it is to be ended
				ask = all.AskFirst
			}
			lists, missing := peers.Values[live.List](ask(ctx, askLive, f.Whole()))
			return live.Merge(f, lists, silentReplicas(missing))
		},
		Lists: func(ctx context.Context, filters []live.Filter) []live.List {
			whole := make([]live.Filter, len(filters))
			for i, f := range filters {
				whole[i] = f.Whole()
			}
			return mergeLives(filters, all.Ask(ctx, askLives, whole))
		},
		End: func(ctx context.Context, f live.Filter, by admin.Actor) (ended int, unreached []string) {
			counts, missing := peers.Values[int](all.AskFirst(ctx, askEndLive, endLiveArgs{f, by}))
			for _, n := range counts {
				ended += n
			}
			return ended, silentReplicas(missing)
		},
	}
}

// mergeLives returns for each filter the list of what all replicas replied.
func mergeLives(filters []live.Filter, replies []peers.Reply) []live.List {
	lists, missing := peers.Values[[]live.List](replies)
	merged := make([]live.List, len(filters))
	for i, f := range filters {
		part := map[string]live.List{}
		for replica, l := range lists {
			if i < len(l) {
				part[replica] = l[i]
			}
		}
		merged[i] = live.Merge(f, part, silentReplicas(missing))
	}
	return merged
}

// silentReplicas returns the names of replicas that did not reply, with why.
func silentReplicas(missing []peers.Reply) (names []string) {
	for _, r := range missing {
		names = append(names, strings.TrimSpace(r.Replica+" ("+r.Err+")"))
	}
	return names
}

func (c *control) live(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[live.Filter](r)
	if err != nil {
		return nil, err
	}
	return c.admin.Live(ctx, actor, body)
}

func (c *control) endLive(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return endedCount{1}, c.admin.EndLive(ctx, actor, r.PathValue("id"))
}

func (c *control) endUserLive(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	user := r.PathValue("user")
	if !strings.HasPrefix(user, appPrefix) {
		var err error
		if user, err = c.admin.FindUser(ctx, actor, user); err != nil {
			return nil, err
		}
	}
	ended, err := c.admin.EndUserLive(ctx, actor, user)
	return endedCount{ended}, err
}

// appPrefix begins the name of an application where users have their userName.
const appPrefix = "app:"

func liveCommand() *cobra.Command {
	c := &cobra.Command{Use: "live", Short: "List and end live requests"}
	c.AddCommand(liveListCommand(), liveEndCommand())
	return c
}

func liveListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List live requests: those that were let in and have not ended",
		Example: "  sallyport live list\n" +
			"  sallyport live list --route grafana --kind websocket --sort busiest",
		Args: cobra.NoArgs,
	}
	addOutputFlag(c)
	var f live.Filter
	c.Flags().StringVar(&f.Name, "user", "", "of users and applications with this `TEXT` in their userName")
	c.Flags().StringVar(&f.Route, "route", "", "to this `ROUTE`")
	kind := c.Flags().String("kind", "", "of this `KIND`: "+eitherOf(live.Kinds()))
	sort := c.Flags().String("sort", string(live.Longest), "sorted by this `WORD`: "+eitherOf(live.Sorts()))
	c.Flags().IntVar(&f.Limit, "limit", 100, "at most this `NUMBER`, up to "+strconv.Itoa(live.MaxLimit))
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		f.Kind, f.Sort = live.Kind(*kind), live.Sort(*sort)
		switch {
		case f.Kind != "" && !slices.Contains(live.Kinds(), f.Kind):
			return fmt.Errorf("--kind %s: write %s", *kind, eitherOf(live.Kinds()))
		case !slices.Contains(live.Sorts(), f.Sort):
			return fmt.Errorf("--sort %s: write %s", *sort, eitherOf(live.Sorts()))
		case f.Limit < 1 || f.Limit > live.MaxLimit:
			return fmt.Errorf("--limit %d is not between 1 and %d", f.Limit, live.MaxLimit)
		}
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var list live.List
		if err := client.call(cmd.Context(), http.MethodPost, "/live", f, &list); err != nil {
			return err
		}
		return printLive(cmd, list)
	}
	return c
}

func eitherOf[W ~string](words []W) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func printLive(cmd *cobra.Command, list live.List) error {
	for _, replica := range list.Missing {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: without those of a replica that did not say: %s\n", printable(replica))
	}
	if len(list.Requests) < list.Matching {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %d of %d; ask for more with --limit, or for fewer by user, route or kind\n", len(list.Requests), list.Matching)
	}
	t := table{heads: []string{"request", "user", "route", "kind", "since", "received", "sent", "rule", "address"}, values: list.Requests}
	for _, r := range list.Requests {
		t.rows = append(t.rows, []string{r.ID, r.UserName, r.Route, string(r.Kind), formatTime(&r.Since), strconv.FormatInt(r.Received, 10), strconv.FormatInt(r.Sent, 10), r.Rule, r.Address})
	}
	return printTable(cmd, t)
}

func liveEndCommand() *cobra.Command {
	return endCommand("live", "the number of a request", "request", "end every live request of this `USER`: a userName, e-mail address, externalId or id; or app: and a client ID", &cobra.Command{
		Use:   "end REQUEST",
		Short: "End a live request, or all of a user (--user), on every replica; others like it may be let in",
		Example: "  sallyport live end 4f0c2a9b8d7e6f5a4b3c2d1e0f9a8b7c\n" +
			"  sallyport live end --user ada@example.com",
	})
}
