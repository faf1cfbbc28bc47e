package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/policy"
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain [URL]",
		Short: "Say whether a caller may make a request, and why",
		Long: "Say whether a caller may make a request, and why: who the caller is, which route receives the request, how each rule\n" +
			"applies, and what would change the decision. It is decided as the proxy decides it, by the rules and the directory of\n" +
			"the running server, for somebody who signed in just now unless --signed-in and the claims say how. --at TIME takes the users and groups\n" +
			"as they were then; the rules are those in force now. --request ID prints what was decided then about a request, by\n" +
			"the number on the page that its sender saw. Exits with 2 if the request would be denied, or was.",
		Example: "  sallyport explain --user ada@example.com https://grafana.example.com/d/1\n" +
			"  sallyport explain --app 00000000-0000-0000-0000-000000000009 --method POST api.example.com/orders",
		Annotations: exits(exitDenied, "the request would be denied, or was"),
		Args:        cobra.MaximumNArgs(1),
	}
	var ask explainRequest
	c.Flags().StringVar(&ask.User, "user", "", "the `USER` who asks, by userName, e-mail address, externalId or id")
	c.Flags().StringVar(&ask.App, "app", "", "the client `ID` of an application that asks for itself")
	c.Flags().StringSliceVar(&ask.Roles, "role", nil, "a `ROLE` that the token gives the application; may be repeated")
	bearer := c.Flags().String("bearer", "", "a `FILE` with the bearer token of the request; - is standard input")
	anonymous := c.Flags().Bool("anonymous", false, "nobody is signed in")
	c.Flags().StringVar(&ask.Method, "method", http.MethodGet, "the `METHOD` of the request")
	c.Flags().StringVar(&ask.Address, "from", "", "the `ADDRESS` of the client")
	login := addLoginFlags(c)
	addAtFlag(c, &ask.At, "who the caller was at a `TIME`, by today's rules")
	recorded := c.Flags().String("request", "", "the `ID` of a request in the record")
	addOutputFlag(c)
	c.MarkFlagsMutuallyExclusive("user", "app", "bearer", "anonymous", "request")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *recorded != "" && ask.At != nil {
			return errors.New("--at does not go with --request: what was decided about the request is in the record")
		}
		if *recorded != "" && len(args) == 0 {
			return explainRequestID(cmd, *recorded)
		}
		if len(args) != 1 {
			return errors.New("write one URL, such as https://grafana.example.com/d/1; or --request ID and no URL")
		}
		if ask.User == "" && ask.App == "" && *bearer == "" && !*anonymous {
			return errors.New("say who asks: --user, --app, --bearer or --anonymous")
		}
		if err := checkMethod(ask.Method); err != nil {
			return err
		}
		if len(ask.Roles) > 0 && ask.App == "" {
			return errors.New("--role goes with --app; the roles of users were pushed")
		}
		if login.given() && ask.User == "" {
			return errors.New("how somebody signed in goes with --user; a token says it itself")
		}
		ask.URL, ask.Login = args[0], login.signIn()
		if *bearer != "" && ask.At != nil {
			return errBearerAt
		}
		if *bearer != "" {
			token, err := readToken(cmd, *bearer)
			if err != nil {
				return err
			}
			ask.Bearer = token
		}
		return explain(cmd, ask)
	}
	return c
}

// loginFlags say how a user signed in.
type loginFlags struct{ access.SignIn }

func addLoginFlags(c *cobra.Command) *loginFlags {
	var l loginFlags
	c.Flags().DurationVar(&l.Ago, "signed-in", 0, "how `LONG` ago the user signed in, such as 2h")
	c.Flags().StringVar(&l.ACR, "acr", "", "the `CLAIM` acr of the user's login")
	c.Flags().StringSliceVar(&l.AMR, "amr", nil, "a `METHOD` in the claim amr of the user's login, such as mfa; may be repeated")
	c.Flags().StringSliceVar(&l.Context, "context", nil, "an authentication `CONTEXT` of Entra in which the user signed in, such as c1; may be repeated")
	return &l
}

func (l *loginFlags) given() bool { return l.Ago != 0 || l.ACR != "" || len(l.AMR)+len(l.Context) > 0 }

func (l *loginFlags) signIn() *access.SignIn {
	if !l.given() {
		return nil
	}
	return &l.SignIn
}

// checkMethod finds methods that nobody means: they are compared exactly.
func checkMethod(method string) error {
	if upper := strings.ToUpper(method); method != upper {
		return fmt.Errorf("--method %s is not the method %s: methods are compared exactly", method, upper)
	}
	return nil
}

const maxTokenFile = 64 << 10 // bytes

func readToken(cmd *cobra.Command, path string) (string, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s holds no token", path)
	}
	return token, nil
}

func explain(cmd *cobra.Command, ask explainRequest) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	var e explanation
	if err := client.call(cmd.Context(), http.MethodPost, "/explain", ask, &e); err != nil {
		return err
	}
	e.AsOf.note(cmd)
	if format, _ := cmd.Flags().GetString("output"); format == "table" {
		writeExplanation(cmd.OutOrStdout(), e.Explanation)
	} else if err := printTable(cmd, explanationTable(e)); err != nil {
		return err
	}
	if !e.Allow {
		return fmt.Errorf("%w: %s", errDenied, e.Reason)
	}
	return nil
}

// explanationTable has a row for each rule.
func explanationTable(e explanation) table {
	t := table{heads: []string{"rule", "effect", "mode", "matched", "missed"}, values: e}
	for _, s := range e.Rules {
		t.rows = append(t.rows, []string{s.Rule, s.Effect, s.Mode, yesNo(s.Matched), s.Missed})
	}
	return t
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// writeExplanation writes a tree for people: caller, request and route, rules, decision.
func writeExplanation(out io.Writer, e access.Explanation) {
	line := func(format string, values ...any) { fmt.Fprintln(out, printable(fmt.Sprintf(format, values...))) }
	writeCaller(line, e.Caller)
	line("%s https://%s%s", e.Request.Method, e.Request.Host, e.Request.Path)
	if e.Request.Reading != "" {
		line("  read as   %s by some servers", e.Request.Reading)
	}
	line("  route     %s (%s%s)", e.Route.Name, e.Route.Host, e.Route.Path)
	line("  accepts   %s", strings.Join(e.Route.Accept, ", "))
	if e.Route.Owner != "" {
		line("  owner     %s", e.Route.Owner)
	}
	for _, s := range e.Rules {
		writeStep(line, s)
	}
	decision := "denied"
	if e.Allow {
		decision = "allowed"
	}
	line("%s: %s", decision, strings.TrimSuffix(e.Reason+" by "+e.Rule, " by "))
	for _, hint := range e.Hints {
		line("  %s", hint)
	}
	for _, g := range e.Wanted {
		if name := cmp.Or(g.Name, g.ID); g.Changed.IsZero() {
			line("  group     %s was never pushed", name)
		} else {
			line("  group     %s: %d members, last change %s", name, g.Members, g.Changed.UTC().Format(time.RFC3339))
		}
	}
}

func writeCaller(line func(string, ...any), c access.CallerFacts) {
	switch c.Kind {
	case "anonymous":
		line("nobody who is signed in")
		return
	case "application":
		line("application %s", c.ID)
	default:
		line("user %s (%s)", c.UserName, cmp.Or(c.Name, c.ID))
		line("  id        %s", c.ID)
	}
	if c.Barred != "" {
		line("  barred    %s", c.Barred)
	}
	var groups []string
	for _, g := range c.Groups {
		groups = append(groups, g.Name)
	}
	for _, fact := range [][2]string{{"groups", strings.Join(groups, ", ")}, {"roles", strings.Join(c.Roles, ", ")}, {"manager", c.Manager}} {
		if fact[1] != "" {
			line("  %-9s %s", fact[0], fact[1])
		}
	}
}

func writeStep(line func(string, ...any), s policy.Step) {
	matched := "does not match"
	if s.Matched {
		matched = "matches"
	}
	mode := ""
	if s.Mode != "" {
		mode = " (report only)"
	}
	line("  %-9s %s %s%s", s.Effect, s.Rule, matched, mode)
	for _, p := range s.Parts {
		line("    %-3s %s: %s", yesNo(p.Matched), p.Part, p.Text)
	}
}
