"""The colours of outlines, in every report.

From the colour-blind-safe palette of Okabe and Ito (2008); missed and spurious lesions differ in the marker's shape as well, so
the pictures survive a grey printer.
"""

REFERENCE_COLOUR = "#0072B2"
PREDICTION_COLOUR = "#E69F00"
MISSED_COLOUR = "#D55E00"
SPURIOUS_COLOUR = "#B04A8E"
