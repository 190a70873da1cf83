// The operator's page.
