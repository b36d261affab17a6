"""Say which languages some names are from."""

import unrolled
from my_project.model import NameModel

model = unrolled.load("runs/names", kind=NameModel, trust="my_project")
print(model.classify(["Heikkilä", "Wójcik", "Rossi", "Yamada"]))
