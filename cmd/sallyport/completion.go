package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sallyport/admin"
	"sallyport/grant"
	"sallyport/live"
)

// Bounds of one completion.
const (
	completionTimeout = time.Second // how long the shell waits for the running server
	maxCompletions    = 300
)

// completion is a word that completes an argument or the value of a flag.
type completion struct {
	Value string `json:"value"`
	About string `json:"about,omitempty"`
}

// plainCompletion returns a completion by a name that the identity provider or a person wrote. The shell puts the value into
// its line: where the name has characters that mean something to a shell, the id stands for it.
func plainCompletion(name, id, about string) completion {
	if isPlainWord(name) {
		return completion{name, about}
	}
	return completion{id, strings.TrimSpace(name + " " + about)}
}

// isPlainWord reports whether a word means itself to every shell.
func isPlainWord(word string) bool {
	return word != "" && word[0] != '-' && !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("@._+-", r)
	})
}

// kindOfFlag says what the values of flags are, by the names of the flags.
var kindOfFlag = map[string]string{"user": "users", "group": "groups", "route": "routes", "policy": "policies"}

// kindOfArgument says what arguments are, by their name in the command's usage. The IDs of each command are of its own kind.
var kindOfArgument = map[string]string{"USER": "users", "GROUP": "groups", "TOKEN": "tokens", "REQUEST": "live", "NUMBER": "pushes"}

// kindOfID says what the arguments ID and NAME of commands are, by the path of the command or of one above it.
var kindOfID = map[string]string{"sallyport sessions": "sessions", "sallyport request": "requests", "sallyport grants": "grants",
	"sallyport access review": "reviews", "sallyport webhook": "webhooks", "sallyport scim held": "held"}

// addCompletions has the shell complete the arguments and flags of every command from what the running server has.
func addCompletions(root *cobra.Command) {
	for _, c := range root.Commands() {
		addCompletions(c)
	}
	root.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if kind, ok := kindOfFlag[f.Name]; ok {
			_ = root.RegisterFlagCompletionFunc(f.Name, func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
				return complete(cmd, kind, prefix)
			})
		}
	})
	if root.ValidArgsFunction == nil && root.Runnable() && !strings.HasPrefix(root.Use, "help") {
		root.ValidArgsFunction = completeArguments(root)
	}
}

// completeArguments returns what completes the arguments of a command, which its usage names; nil if they are files.
func completeArguments(c *cobra.Command) cobra.CompletionFunc {
	_, usage, _ := strings.Cut(c.Use, " ")
	words := strings.FieldsFunc(usage, func(r rune) bool { return !unicode.IsUpper(r) })
	if len(words) > 0 && slices.Contains([]string{"FILE", "DIR", "OLD", "NEW"}, words[0]) {
		return nil
	}
	kind := argumentKind(c, words)
	many := strings.Contains(usage, "...") && len(words) == 1
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if kind == "" || len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, kind, prefix)
	}
}

// argumentKind returns of which kind the first argument of a command is; "" if there is none, or the server does not have it.
func argumentKind(c *cobra.Command, words []string) string {
	if len(words) == 0 {
		return ""
	}
	for above := c; above != nil; above = above.Parent() {
		kind, ok := kindOfID[above.CommandPath()]
		if ok && (words[0] == "ID" || words[0] == "NAME" || kind == "held") {
			return kind
		}
	}
	return kindOfArgument[words[0]]
}

// complete returns what the running server has of a kind; nothing if none runs, or it does not respond in time.
func complete(cmd *cobra.Command, kind, prefix string) (words []string, _ cobra.ShellCompDirective) {
	client, err := newControlClient(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, stop := context.WithTimeout(context.Background(), completionTimeout)
	defer stop()
	path := "http://control/completions/" + kind + "?prefix=" + url.QueryEscape(prefix)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	resp, err := client.http().Do(req)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer resp.Body.Close()
	var found []completion
	if decodeResponse(resp, &found) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, f := range found {
		words = append(words, cobra.CompletionWithDesc(f.Value, printable(f.About)))
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completions responds with what completes a word that begins with a prefix, in whichever case.
func (c *control) completions(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	all, err := c.completionsOf(ctx, actor, r.PathValue("kind"))
	if err != nil {
		return nil, err
	}
	prefix := strings.ToLower(r.URL.Query().Get("prefix"))
	found := []completion{}
	for _, one := range all {
		if isPlainWord(one.Value) && strings.HasPrefix(strings.ToLower(one.Value), prefix) {
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b completion) int { return cmp.Compare(a.Value, b.Value) })
	return found[:min(len(found), maxCompletions)], nil
}

// completionsOf returns everything of a kind.
func (c *control) completionsOf(ctx context.Context, actor admin.Actor, kind string) (all []completion, err error) {
	switch kind {
	case "users":
		for _, u := range c.questions.directory.Snapshot() {
			all = append(all, plainCompletion(u.UserName, u.ID, u.DisplayName))
		}
	case "groups":
		for _, g := range c.questions.directory.Groups() {
			all = append(all, plainCompletion(g.DisplayName, g.ID, ""))
		}
	case "routes":
		for _, route := range c.questions.rules().Routes() {
			all = append(all, completion{route.Name, route.Host + route.Path})
		}
	case "policies":
		for _, policy := range c.questions.rules().Policies() {
			all = append(all, completion{policy.Name, ""})
		}
	case "webhooks":
		for _, name := range c.webhooks.Names() {
			all = append(all, completion{name, ""})
		}
	case "tokens":
		return completionsFrom(ctx, actor, c.admin.Tokens, func(t admin.Token) completion { return plainCompletion(t.Name, t.ID, "") })
	case "sessions":
		return completionsFrom(ctx, actor, c.admin.Sessions, func(s admin.Session) completion { return completion{s.ID, s.UserName} })
	case "live":
		return completionsFrom(ctx, actor, func(ctx context.Context, actor admin.Actor) ([]live.Request, error) {
			list, err := c.admin.Live(ctx, actor, live.Filter{Limit: live.MaxLimit})
			return list.Requests, err
		}, func(r live.Request) completion { return completion{r.ID, r.UserName + " on " + r.Route} })
	case "held":
		return completionsFrom(ctx, actor, c.admin.Holds, func(h admin.Hold) completion { return plainCompletion(h.UserName, h.ID, "") })
	case "pushes":
		return completionsFrom(ctx, actor, func(ctx context.Context, actor admin.Actor) ([]admin.Push, error) {
			found, err := c.admin.Pushes(ctx, actor, admin.PushFilter{}, maxCompletions)
			return found.Pushes, err
		}, func(p admin.Push) completion {
			return completion{strconv.FormatUint(p.Number, 10), p.Method + " " + p.Target}
		})
	case "reviews":
		return completionsFrom(ctx, actor, c.admin.Reviews, func(v admin.ReviewView) completion { return completion{v.ID, v.Route} })
	case "requests":
		return completionsFrom(ctx, actor, c.admin.Requests, func(v admin.RequestView) completion {
			if v.State != grant.StateOpen {
				return completion{}
			}
			return completion{v.ID, v.Person.UserName + " asks for " + v.Policy}
		})
	case "grants":
		open := func(ctx context.Context, actor admin.Actor) ([]admin.Grant, error) {
			return c.admin.Grants(ctx, actor, false)
		}
		return completionsFrom(ctx, actor, open, func(g admin.Grant) completion { return completion{g.ID, g.Person.UserName + " has " + g.Policy} })
	default:
		return nil, fmt.Errorf("nothing is completed by %q", kind)
	}
	return all, nil
}

// completionsFrom returns a completion for each element of a list.
func completionsFrom[T any](ctx context.Context, actor admin.Actor, list func(context.Context, admin.Actor) ([]T, error), word func(T) completion) (all []completion, err error) {
	items, err := list(ctx, actor)
	for _, item := range items {
		all = append(all, word(item))
	}
	return all, err
}
