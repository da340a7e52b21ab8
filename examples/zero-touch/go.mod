module example.com/zerotouch

go 1.22
