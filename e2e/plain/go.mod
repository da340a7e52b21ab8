module example.com/podcov/e2e/plain

go 1.24
