module quiet

go 1.20
