module clovisor.test/app

go 1.24.0
