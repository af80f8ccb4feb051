from suite import Table
table = Table()
