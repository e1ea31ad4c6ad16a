module erlking/perf/peers/go

go 1.19
