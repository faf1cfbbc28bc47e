package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// exitAnnotation is the prefix of the annotations that say what an exit code of a command means.
const exitAnnotation = "exit "

// exits returns annotations of a command that say what one of its exit codes means, if that is more than every command's.
func exits(code int, meaning string) map[string]string {
	return map[string]string{exitAnnotation + strconv.Itoa(code): meaning}
}

// exitStatus is one exit code of a command, and what it means.
type exitStatus struct {
	code    int
	meaning string
}

// exitStatuses returns the exit codes of a command. Only commands that say what exitDenied means have that code.
func exitStatuses(c *cobra.Command) (all []exitStatus) {
	for code, usual := range []string{exitOK: "done", exitError: "an error, which standard error describes", exitDenied: ""} {
		meaning, ok := c.Annotations[exitAnnotation+strconv.Itoa(code)]
		if !ok {
			meaning = usual
		}
		if meaning != "" {
			all = append(all, exitStatus{code, meaning})
		}
	}
	return all
}

// addExitStatus has the help of every command end with its exit codes.
func addExitStatus(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if unknownCommand(c) != nil {
			return // run says so
		}
		help(c, args)
		writeExitStatus(c.OutOrStdout(), c)
	})
}

func writeExitStatus(out io.Writer, c *cobra.Command) {
	fmt.Fprintln(out, "\nExit status:")
	for _, s := range exitStatuses(c) {
		fmt.Fprintf(out, "  %d  %s\n", s.code, s.meaning)
	}
}

// unknownCommand returns an error if what follows a group of commands, such as `audit`, names none of them.
func unknownCommand(group *cobra.Command) error {
	if group.Runnable() || group.Flags().NArg() == 0 {
		return nil
	}
	group.SuggestionsMinimumDistance = 2
	name, path, meant := group.Flags().Arg(0), group.CommandPath(), ""
	if similar := group.SuggestionsFor(name); len(similar) > 0 {
		meant = "did you mean " + strings.Join(similar, " or ") + "? "
	}
	return fmt.Errorf("there is no command `%s %s`; %s`%s --help` lists what there is", path, name, meant, path)
}

// addUsage has errors about the arguments and flags of a command say what it expects.
func addUsage(root *cobra.Command) {
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if strings.HasPrefix(err.Error(), "unknown ") {
			return fmt.Errorf("%w; `%s --help` lists the flags", err, c.CommandPath())
		}
		return err
	})
	addArgumentUsage(root)
}

func addArgumentUsage(c *cobra.Command) {
	if check := c.Args; check != nil && c.Runnable() {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w; write `%s`", err, c.UseLine())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		addArgumentUsage(sub)
	}
}

// addHelpCommand adds the command that prints the help of another.
func addHelpCommand(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Example = "  sallyport help token create"
		}
	}
}

func completionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "completion",
		Short: "Print a script with which a shell completes commands, people, groups, routes and ids",
		Long: "Print a script with which a shell completes commands and their flags. People, groups, routes, policies and ids are those of\n" +
			"the running server; while none runs, they are not completed. The script for bash needs the package bash-completion of your system.",
	}
	c.AddCommand(
		shellCommand("bash", "  source <(sallyport completion bash)", func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) }),
		shellCommand("zsh", `  sallyport completion zsh > "${fpath[1]}/_sallyport"`, (*cobra.Command).GenZshCompletion),
		shellCommand("fish", "  sallyport completion fish | source", func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) }),
		shellCommand("powershell", "  sallyport completion powershell | Out-String | Invoke-Expression", (*cobra.Command).GenPowerShellCompletionWithDesc),
	)
	return c
}

func shellCommand(shell, example string, generate func(*cobra.Command, io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use:     shell,
		Short:   "Print the script for " + shell,
		Example: example,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return generate(cmd.Root(), cmd.OutOrStdout()) },
	}
}
