from larpo_ir.cli import main

main()
