package main

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/config"
)

func validateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration file and the files that it names",
		Long: "Check the configuration file and the files that it names. With --live, also compare its rules with the directory of the\n" +
			"running server: groups that were never pushed, are called otherwise or have no members, users who are not there, roles\n" +
			"and attributes that nobody has, rules that allow nothing, routes that nobody or everybody reaches.",
		Example: "  sallyport validate\n" +
			"  sallyport validate --live -c new.yaml",
		Args: cobra.NoArgs,
	}
	live := c.Flags().Bool("live", false, "compare the rules with the directory, too")
	withoutFiles := c.Flags().Bool("without-files", false, "the files that the configuration names are not here: check it alone")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		path := configPath(cmd)
		validate := config.Validate
		if *withoutFiles {
			validate = func(path string) (*config.File, config.Faults, error) {
				file, err := config.ValidateWithoutFiles(path)
				return file, nil, err
			}
		}
		file, warnings, err := validate(path)
		if err != nil {
			return err
		}
		if *live {
			found, err := lint(cmd, path)
			if err != nil {
				return err
			}
			warnings = append(warnings, found...)
		}
		for _, w := range warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", printable(w.String()))
		}
		facts := validFacts{path, len(file.Routes), len(file.Policies), warningTexts(warnings)}
		return printFacts(cmd, fmt.Sprintf("%s is sound: %d routes, %d policies", path, facts.Routes, facts.Policies),
			table{[]string{"file", "routes", "policies", "warnings"}, [][]string{{path, strconv.Itoa(facts.Routes), strconv.Itoa(facts.Policies), strconv.Itoa(len(warnings))}}, facts})
	}
	addOutputFlag(c)
	return c
}

// validFacts say what a sound file has.
type validFacts struct {
	File     string   `json:"file"`
	Routes   int      `json:"routes"`
	Policies int      `json:"policies"`
	Warnings []string `json:"warnings"`
}

func warningTexts(warnings config.Faults) []string {
	texts := []string{}
	for _, w := range warnings {
		texts = append(texts, w.String())
	}
	return texts
}

// lint returns what the live directory shows about the rules of a file.
func lint(cmd *cobra.Command, path string) (found config.Faults, err error) {
	text, rules, err := config.ReadRules(path)
	if err != nil {
		return nil, err
	}
	client, err := newControlClient(cmd)
	if err != nil {
		return nil, err
	}
	var findings []access.Finding
	if err := client.call(cmd.Context(), http.MethodPost, "/access/lint", namedText{path, string(text)}, &findings); err != nil {
		return nil, err
	}
	for _, f := range findings {
		found = append(found, rules.Fault(f.Path, f.Problem))
	}
	return found, nil
}

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Print an example or the schema of the configuration file, or which one is in force"}
	c.AddCommand(configStatusCommand(), &cobra.Command{
		Use:     "example",
		Short:   "Print a configuration file with every part explained",
		Example: "  sallyport config example > sallyport.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Example())
			return err
		},
	}, &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file, for editors",
		Example: "  sallyport config schema > sallyport.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", schema)
			return err
		},
	})
	return c
}
