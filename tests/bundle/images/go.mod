module labctl.test/bundle/images

go 1.24.0
