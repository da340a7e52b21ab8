module example.com/podcov/e2e/wrapped

go 1.24
