"""An `EndpointPickerConfig`: read strictly, its plugins found and built.

What the built plugins do belongs to `picker.scheduling`; following the file belongs to `infscale.serving`.
"""
