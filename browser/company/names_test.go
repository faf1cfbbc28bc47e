package company

var firstNames = []string{"Ada", "Alan", "Amara", "Anita", "Barbara", "Bjarne", "Carl", "Chidi", "Claude", "Dana", "Dennis", "Edsger", "Elif", "Emmy", "Fatima", "Frances", "Grace", "Guido", "Hana", "Hedy", "Ines", "Ivan", "Jean", "Jóhanna", "Kateryna", "Ken", "Leslie", "Lin", "Margaret", "Mary", "Minh", "Nadia", "Niklaus", "Noor", "Olga", "Otto", "Priya", "Radia", "Rosa", "Sofia", "Søren", "Tim", "Ursula", "Vera", "Wei", "Yara", "Yukihiro", "Zoë"}

var lastNames = []string{"Adeyemi", "Andersen", "Bartik", "Becker", "Castellanos", "Chen", "Dubois", "Eriksson", "Fernandes", "García", "Goldberg", "Haddad", "Hopper", "Ivanova", "Jansen", "Johansson", "Kaya", "Kowalski", "Lamarr", "Lovelace", "Martins", "Müller", "Nakamura", "Nguyen", "Novák", "O’Brien", "Okafor", "Olsen", "Patel", "Perlman", "Quispe", "Rossi", "Sato", "Schmidt", "Silva", "Smirnova", "Tanaka", "Thompson", "Umarov", "Vasquez", "Wagner", "Weber", "Wójcik", "Xu", "Yilmaz", "Zhang"}

// departments and teams become groups, beside one for everybody.
var departments = []string{"Engineering", "Operations", "Research", "Finance", "People", "Sales", "Marketing", "Support", "Legal", "Security", "Design", "Logistics"}

var teams = []string{"SRE", "Platform", "Payments", "Search", "Mobile", "Data", "Analysts", "On-call", "Grafana editors", "Argo CD deployers", "Kibana readers", "Jupyter users", "Orders API", "Payroll", "Contractors", "Administrators", "Auditors"}

// application is a route, with the groups whose members it lets in.
type application struct {
	name, title, group string
	allow              []string
	weight             int // how much it is used
}

var applications = []application{
	{"grafana", "Dashboards", "Observe", []string{"SRE", "Platform", "Grafana editors", "Operations"}, 30},
	{"kibana", "Logs", "Observe", []string{"SRE", "Kibana readers"}, 15},
	{"argocd", "Deployments", "Build", []string{"Argo CD deployers", "Platform"}, 12},
	{"jupyter", "Notebooks", "Data", []string{"Jupyter users", "Data", "Research"}, 12},
	{"metabase", "Questions and answers", "Data", []string{"Analysts", "Finance", "Data"}, 10},
	{"wiki", "Wiki", "Everybody", []string{"All staff"}, 40},
	{"tickets", "Tickets", "Everybody", []string{"Support", "Engineering", "Operations"}, 20},
	{"payroll", "Payroll", "People", []string{"Payroll", "People"}, 3},
	{"orders", "Orders", "Business", []string{"Orders API", "Sales", "Logistics"}, 18},
	{"airflow", "Pipelines", "Data", []string{"Data"}, 5},
	{"registry", "Container images", "Build", []string{"Engineering"}, 8},
	{"break-glass-vault", "Vault for emergencies", "Build", []string{"On-call"}, 1},
}
