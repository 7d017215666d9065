"""The colours of every figure: those of Okabe and Ito, which people who see fewer colours tell apart, and a grey.

Source: https://jfly.uni-koeln.de/color/
"""

BLACK, GREY = "#000000", "#767676"
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"

# From low to high: light enough for marks in any colour, and darker is more in black and white, too.
SCALE = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5")
